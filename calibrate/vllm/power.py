#!/usr/bin/env python3
"""Watts of classes of operators on the GPU at hand, by NVML's energy counter, each in its steady state: what kingman's law of energy
(src/economics/economics.h) is made of.

    PYTHONPATH=SITE calibrate/vllm/power.py --out power.csv [--seconds 1.6] [--budget 150]

An operator is captured into a graph (random data, weights and pages from memory, nothing emptied in between) and replayed without a
rest; after a warm-up as long as the rest of the time, joules and seconds between two ticks of the counter are one row. `flops` and
`bytes` are what one launch must do and move, `us` what it took. Rows come as they are measured; those that --out has are not measured again.
"""
import argparse
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench
import products as fp8
import torch

GRAPH_US = 4e3


class Counter:
    """Ticks of the energy counter, read every 2 ms in a thread: (seconds, joules) when it moved, and the SM clock now and then."""

    def __init__(self):
        import pynvml
        pynvml.nvmlInit()
        self.nvml, self.gpu = pynvml, pynvml.nvmlDeviceGetHandleByIndex(0)
        self.ticks, self.clocks = [], []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        last = None
        while True:
            joules = self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.gpu) / 1e3
            now = time.monotonic()
            if last is not None and joules != last:
                self.ticks.append((now, joules))
                if len(self.ticks) % 4 == 0:
                    self.clocks.append((now, self.nvml.nvmlDeviceGetClockInfo(self.gpu, self.nvml.NVML_CLOCK_SM)))
            last = joules
            time.sleep(0.002)

    def between(self, begin, end):
        ticks = [tick for tick in self.ticks if begin <= tick[0] <= end]
        clocks = sorted(clock for at, clock in self.clocks if begin <= at <= end)
        (first_s, first), (last_s, last) = ticks[0], ticks[-1]
        return (last - first) / (last_s - first_s), last_s - first_s, clocks[len(clocks) // 2] if clocks else 0


class Loads:
    def __init__(self, device):
        self.device = device
        self.products = fp8.Products(device)
        self.wide = torch.randn(1 << 28, device="cuda")  # 1 GiB
        self.other = torch.empty_like(self.wide)
        self.sum = torch.empty((), device="cuda")
        self.kernels = {}

    def tiny(self):
        x = torch.zeros(64, device="cuda")
        return lambda i: x.add_(1.0), 200, 0.0, 512.0

    def read(self, data):
        source = self.wide if data == "random" else torch.ones_like(self.wide)
        return lambda i: torch.sum(source, dim=0, out=self.sum), 16, 0.0, 4.0 * source.numel()

    def copy(self):
        return lambda i: self.other.copy_(self.wide), 8, 0.0, 8.0 * self.wide.numel()

    def gemm(self, dtype, n, k, m):
        size, rate = (1, 1.3e9) if dtype == "fp8" else (2, 0.7e9)
        ideal_us = 2.0 + max(n * k * size / 4e6, 2.0 * n * k * m / rate)
        instances = max(1, min(256, int(GRAPH_US / ideal_us)))
        launch = self.products.launches(dtype, n, k, m, instances)
        return launch, instances, 2.0 * n * k * m, float(n * k * size + m * k * size + 2 * m * n)

    def attention(self, heads, kv_heads, chunks, batch, context):
        import attention
        key = (heads, kv_heads)
        if key not in self.kernels:
            self.kernels.clear()
            self.kernels[key] = attention.Kernel(self.device, "bf16", heads, kv_heads)
        kernel, contexts = self.kernels[key], [context] * batch
        instances = max(1, min(64, int(GRAPH_US / kernel.ideal_us(chunks, contexts))))
        launch = kernel.step(chunks, contexts, instances, attention.MAX_MODEL_LEN if not chunks else None)
        pairs = sum(t * p + t * (t + 1) / 2 for t, p in chunks) + sum(contexts)
        tokens = sum(t + p for t, p in chunks) + sum(contexts)
        rows = sum(t for t, _ in chunks) + batch
        return launch, instances, 4.0 * pairs * heads * 128, 512.0 * tokens * kv_heads + 512.0 * rows * heads

    def norm(self, rows, hidden):
        ops = torch.ops._C
        x = [torch.randn((rows, hidden), device="cuda").to(torch.bfloat16) for _ in range(16)]
        residual = [torch.randn_like(y) for y in x]
        weight = torch.ones(hidden, dtype=torch.bfloat16, device="cuda")
        return lambda i: ops.fused_add_rms_norm(x[i % 16], residual[i % 16], weight, 1e-6), 64, 0.0, 8.0 * rows * hidden

    def activation(self, rows, width):
        ops = torch.ops._C
        x = [torch.randn((rows, 2 * width), device="cuda").to(torch.bfloat16) for _ in range(8)]
        out = torch.empty((rows, width), dtype=torch.bfloat16, device="cuda")
        return lambda i: ops.silu_and_mul(out, x[i % 8]), 32, 0.0, 6.0 * rows * width


def loads(at):
    """(op, words of its shape, maker); the ones that matter most first."""
    yield "idle", "", None
    yield "tiny kernels", "", at.tiny
    yield "read", "random", lambda: at.read("random")
    yield "copy", "random", at.copy
    for m in (1, 16, 64, 256, 1024, 8192):
        yield "gemm bf16", f"n 8192 k 8192 m {m}", lambda m=m: at.gemm("bf16", 8192, 8192, m)
    for batch, context in ((64, 1024), (64, 8192), (256, 1024)):
        yield "attention", f"heads 32/8 decodes {batch} context {context}", lambda b=batch, c=context: at.attention(32, 8, [], b, c)
    yield "attention", "heads 32/8 chunk 8192", lambda: at.attention(32, 8, [(8192, 0)], 0, 0)
    yield "attention", "heads 32/8 chunk 2048 decodes 64 context 2048", lambda: at.attention(32, 8, [(2048, 0)], 64, 2048)
    for m in (1, 16, 64, 256, 8192):
        yield "gemm fp8", f"n 8192 k 8192 m {m}", lambda m=m: at.gemm("fp8", 8192, 8192, m)
    yield "norm", "rows 8192 hidden 5120", lambda: at.norm(8192, 5120)
    yield "activation", "rows 8192 width 17408", lambda: at.activation(8192, 17408)
    yield "read", "ones", lambda: at.read("ones")
    for m in (4, 32, 128, 512, 2048):
        yield "gemm bf16", f"n 8192 k 8192 m {m}", lambda m=m: at.gemm("bf16", 8192, 8192, m)
    for n, k in ((5120, 5120), (34816, 5120), (5120, 17408)):
        for m in (1, 32, 128, 2048):
            yield "gemm bf16", f"n {n} k {k} m {m}", lambda n=n, k=k, m=m: at.gemm("bf16", n, k, m)
    yield "attention", "heads 64/8 decodes 64 context 4096", lambda: at.attention(64, 8, [], 64, 4096)
    yield "attention", "heads 32/4 decodes 64 context 4096", lambda: at.attention(32, 4, [], 64, 4096)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, default=1.6, help="of each load, half of them warm-up")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds in all")
    args = parser.parse_args()
    ends = time.monotonic() + args.budget
    device, counter = bench.Device(), Counter()
    at = Loads(device)
    known = set()
    if os.path.exists(args.out):
        known = {tuple(line.split(",")[:2]) for line in open(args.out) if not line.startswith("#")}
    with open(args.out, "a") as file:
        if not known:
            name, driver, limit = bench.smi("name", "driver_version", "power.limit")
            file.write(f"# {bench.command()}; {name}, driver {driver}, power limit {limit} W, PyTorch {torch.__version__}\n")
            file.write("op,shape,us,flops,bytes,watts,seconds,sm_mhz\n")
        for op, shape, make in loads(at):
            if time.monotonic() > ends:
                break
            if (op, shape) in known:
                continue
            try:
                launch, instances, flops, moved = make() if make else (None, 0, 0.0, 0.0)
                us, began = 0.0, time.monotonic()
                if make:
                    launch(0)
                    torch.cuda.synchronize()
                    graph = device.capture(launch, instances)
                    began = time.monotonic()
                    events = fp8.Products.spin(graph, args.seconds)
                    middle = events[len(events) // 2:]
                    us = 1e3 * middle[0].elapsed_time(middle[-1]) / (len(middle) - 1) / instances
                    del graph, launch
                else:
                    time.sleep(2 * args.seconds)
                ended = time.monotonic()
                watts, seconds, clock = counter.between((began + ended) / 2, ended)
                row = f"{op},{shape},{us:.5g},{flops:.5g},{moved:.5g},{watts:.1f},{seconds:.2f},{clock}"
                file.write(row + "\n")
                file.flush()
                print(row, flush=True)
            except Exception as error:  # one load less
                print(f"{op} {shape}: {type(error).__name__} {error}", flush=True)


if __name__ == "__main__":
    main()
