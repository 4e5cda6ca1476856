#!/usr/bin/env python3
"""Times vLLM's own kernels that quantise activations to fp8 on the GPU at hand, and those that do it on the way: one scale
a token (FP8-dynamic checkpoints, online fp8), one a group of 128 values (DeepSeek's and Qwen's fp8 blocks).

    PYTHONPATH=SITE calibrate/vllm/quantize.py --out quantize.csv [--budget 60]

The wheel's extension alone is loaded, not the package. Input from memory (it rotates through 512 MiB), in CUDA graphs. `bytes` is
what one launch must read and write.
"""
import argparse
import random
import time

import bench
import products
import torch

FP8 = torch.float8_e4m3fn
ROWS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
WIDTHS = (2048, 4096, 5120, 7168, 8192, 14336)
POOL = 512 << 20


class Kernels:
    """Each: (bytes a value that must be moved, launch(i) over rows of width)."""

    def __init__(self, device):
        torch.ops.load_library(products.library())
        self.device, self.ops = device, torch.ops._C
        self.pool = torch.randn(POOL // 2, device="cuda").to(torch.bfloat16)

    def inputs(self, rows, width):
        count = max(1, min(32, self.pool.numel() // (rows * width)))
        return [self.pool[i * rows * width:(i + 1) * rows * width].view(rows, width) for i in range(count)]

    def per_token(self, rows, width):
        x, out = self.inputs(rows, width), torch.empty((rows, width), dtype=FP8, device="cuda")
        scale = torch.empty((rows, 1), device="cuda")
        return 3.0, lambda i: self.ops.dynamic_per_token_scaled_fp8_quant(out, x[i % len(x)], scale, None)

    def per_group(self, rows, width):
        x, out = self.inputs(rows, width), torch.empty((rows, width), dtype=FP8, device="cuda")
        scale = torch.empty((width // 128, rows), device="cuda").permute(-1, -2)
        return 3.0, lambda i: self.ops.per_token_group_fp8_quant(x[i % len(x)], out, scale, 128, 1e-10, -448.0, 448.0, False, True, False)

    def norm_per_token(self, rows, width):
        x, out = self.inputs(rows, width), torch.empty((rows, width), dtype=FP8, device="cuda")
        scale, weight = torch.empty((rows, 1), device="cuda"), torch.ones(width, dtype=torch.bfloat16, device="cuda")
        residual = torch.randn((rows, width), device="cuda").to(torch.bfloat16)
        return 7.0, lambda i: self.ops.rms_norm_dynamic_per_token_quant(out, x[i % len(x)], weight, scale, 1e-6, None, residual)

    def norm(self, rows, width):
        x, weight = self.inputs(rows, width), torch.ones(width, dtype=torch.bfloat16, device="cuda")
        residual = torch.randn((rows, width), device="cuda").to(torch.bfloat16)
        return 8.0, lambda i: self.ops.fused_add_rms_norm(x[i % len(x)], residual, weight, 1e-6)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="CSV of rows; goes on where an earlier run stopped")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds in all")
    args = parser.parse_args()
    ends, device = time.monotonic() + args.budget, bench.Device()
    kernels = Kernels(device)
    x = kernels.inputs(64, 4096)[0]
    out, scale = torch.empty((64, 4096), dtype=FP8, device="cuda"), torch.empty((64, 1), device="cuda")
    kernels.ops.dynamic_per_token_scaled_fp8_quant(out, x, scale, None)
    error = ((out.double() * scale.double() - x.double()).norm() / x.double().norm()).item()
    print(f"relative error {error:.2g}", flush=True)
    if not error < 0.05:
        raise SystemExit("quantize.py: the kernel's results are wrong")
    rows = bench.Rows(args.out, {"kernels": "quantisation of activations, vLLM 0.26.0", "clocks": "as found; a rest half as long after each burst"})
    todo = [(name, width, count) for name in ("per_token", "per_group", "norm_per_token", "norm") for width in WIDTHS for count in ROWS]
    random.Random(1).shuffle(todo)
    for name, width, count in todo:
        if time.monotonic() > ends:
            break
        try:
            each, launch = getattr(kernels, name)(count, width)
            moved = each * width * count
            row = {"op": "quantize", "kernel": name, "width": width, "rows": count, "bytes": moved}
            if not rows.has(row):
                rows.add(row, *device.time_us(launch, bench.instances_for(2.0 + moved / 4e6, 64)))
        except Exception as failure:  # one kernel less
            print(f"{name} {width} {count}: {type(failure).__name__} {failure}", flush=True)
    rows.close()
    print(f"{len(rows.known)} rows", flush=True)


if __name__ == "__main__":
    main()
