#!/usr/bin/env python3
"""Times vLLM's own routed experts on the GPU at hand: fused_experts of a vLLM wheel (its Triton kernels, with the tile
sizes that vLLM ships for this device or its defaults), from given expert ids to the sum over a token's experts.

    PYTHONPATH=SITE calibrate/vllm/experts.py --out experts.csv [--check check.csv --shapes 30] [--budget 300]

Rows: class moe of the profile, the whole routed MLP of one rank without the router: in bf16, and in fp8 with one scale
for each block of 128 x 128 weights and of 128 activations (the checkpoints of DeepSeek-V3, Qwen3-FP8). For those
Hopper takes the same Triton kernels unless experts are spread over ranks (vllm 0.26.0, fused_moe/oracle/fp8.py).
Routing `uniform`: each token's experts drawn at random; `balanced`: dealt out in turn, so that all experts get
as many tokens, give or take one. Weights come from memory: every instance draws experts anew, and L2 is emptied.
"""
import argparse
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench
import torch

BLOCK = 128
# name: experts, top_k, hidden, width on this rank, ranks that experts are spread whole over, formats
MODELS = {
    "qwen3-30b-a3b": (128, 8, 2048, 768, 1, ("bf16", "fp8")),
    "deepseek-v2-lite": (64, 6, 2048, 1408, 1, ("bf16", "fp8")),
    "deepseek-v3-tp8": (256, 8, 7168, 256, 1, ("fp8", "bf16")),
    "mixtral-8x7b": (8, 2, 4096, 14336, 1, ("bf16",)),
    "gpt-oss-20b": (32, 4, 2880, 2880, 1, ("bf16",)),
    "qwen3-30b-a3b-ep2": (128, 8, 2048, 768, 2, ("bf16",)),
    "qwen3-30b-a3b-tp2": (128, 8, 2048, 384, 1, ("bf16", "fp8")),
    "deepseek-v3-ep8": (256, 8, 7168, 2048, 8, ("fp8",)),
    "gpt-oss-120b": (128, 4, 2880, 2880, 1, ("bf16",)),
    "qwen3-235b-tp4": (128, 8, 4096, 384, 1, ("bf16", "fp8")),
    "mixtral-8x7b-tp2": (8, 2, 4096, 7168, 1, ("bf16",)),
}
# both sides of where tile sizes change: the tables' nearest of 1 2 4 8 16 24 32 48 64 96 128 256 512 1024 1536 2048
# 3072 4096, the defaults' 4 8 16 32 64 96 128 512
ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072,
        4096, 6144, 8192, 16384)


class Experts:
    def __init__(self, device, experts, top_k, hidden, width, ranks, dtype):
        from vllm.model_executor.layers.fused_moe import fused_moe
        from vllm.model_executor.layers.fused_moe.config import fp8_w8a8_moe_quant_config
        self.device, self.fused_experts = device, fused_moe.fused_experts
        self.experts, self.top_k, self.hidden, self.width, self.dtype = experts, top_k, hidden, width, dtype
        local = experts // ranks
        size = 1 if dtype == "fp8" else 2
        self.up = self.weights(local, 2 * width, hidden)
        self.down = self.weights(local, hidden, width)
        self.expert_bytes = 3 * width * hidden * size
        self.map = None
        if ranks > 1:
            self.map = torch.full((experts,), -1, dtype=torch.int32, device="cuda")
            self.map[:local] = torch.arange(local, dtype=torch.int32, device="cuda")
        self.quantized = None
        if dtype == "fp8":
            scale = lambda w: torch.full((local, -(-w.shape[1] // BLOCK), -(-w.shape[2] // BLOCK)), 0.02, device="cuda")
            self.quantized = fp8_w8a8_moe_quant_config(w1_scale=scale(self.up), w2_scale=scale(self.down),
                                                       block_shape=[BLOCK, BLOCK])
        self.ranks = ranks

    def weights(self, experts, n, k):
        dtype = torch.float8_e4m3fn if self.dtype == "fp8" else torch.bfloat16
        out = torch.empty((experts, n, k), dtype=dtype, device="cuda")
        for expert in range(experts):
            noise = torch.randn((n, k), device="cuda")
            out[expert] = (noise if self.dtype == "fp8" else noise * k ** -0.5).to(dtype)
        return out

    def ids(self, m, routing, turn):
        if routing == "balanced":
            first = turn * m * self.top_k
            order = torch.arange(first, first + m * self.top_k, device="cuda")
            return ((order * self.step()) % self.experts).view(m, self.top_k).to(torch.int32)
        return torch.rand((m, self.experts), device="cuda").topk(self.top_k, dim=1).indices.to(torch.int32)

    def step(self):
        """Odd, so that every expert has its turn, and far apart: a rank holds its share of neighbours."""
        return self.experts // 2 + 1 if self.experts % 4 == 0 else 1

    def launches(self, m, routing, instances):
        hidden = torch.randn((m, self.hidden), device="cuda").to(torch.bfloat16)
        ids = [self.ids(m, routing, i) for i in range(instances)]
        weights = torch.full((m, self.top_k), 1.0 / self.top_k, device="cuda")

        def launch(i):
            return self.fused_experts(hidden, self.up, self.down, weights, ids[i], global_num_experts=self.experts,
                                      expert_map=self.map, quant_config=self.quantized)

        launch.hidden, launch.ids = hidden, ids
        return launch

    def time_us(self, m, routing):
        touched = min(self.experts, m * self.top_k) / self.ranks * self.expert_bytes
        flops = 6.0 * m * self.top_k / self.ranks * self.width * self.hidden
        ideal_us = 10.0 + max(touched / 4e6, flops / 500e6)
        instances = bench.instances_for(ideal_us, 12)
        return self.device.time_us(self.launches(m, routing, instances), instances)

    def verify(self):
        """A few tokens against a reference in double precision."""
        launch = self.launches(7, "uniform", 1)
        got = launch(0).double()
        scale = 0.02 if self.dtype == "fp8" else 1.0
        want = torch.zeros_like(got)
        for token in range(7):
            for expert in launch.ids[0][token].tolist():
                if self.map is not None and self.map[expert] < 0:
                    continue
                x = launch.hidden[token].double()
                gate, up = (self.up[expert].double() @ x * scale).chunk(2)
                want[token] += self.down[expert].double() @ (torch.nn.functional.silu(gate) * up) * scale / self.top_k
        error = ((got - want).norm() / want.norm()).item()
        print(f"relative error {error:.2g}", end=" ", flush=True)
        if not error < (0.08 if self.dtype == "fp8" else 0.015):
            sys.exit("experts.py: the kernel's results are wrong")


def todo(names):
    return [(name, dtype) for name in names or MODELS for dtype in MODELS[name][5]]


def row_of(name, dtype, routing, m):
    experts, top_k, hidden, width, ranks, _ = MODELS[name]
    return {"op": "moe", "weights": dtype, "activations": dtype, "experts": experts, "top_k": top_k, "ranks": ranks,
            "hidden": hidden, "width": width, "routing": routing, "m": m}


def compile_ahead(names, workers):
    """Triton compiles at first use: every model in a process of its own, into the cache that all share."""
    queue, running = todo(names), []
    while queue or running:
        while queue and len(running) < workers:
            name, dtype = queue.pop(0)
            running.append(subprocess.Popen([sys.executable, __file__, "--compile", name, dtype]))
        time.sleep(0.2)
        if any(p.returncode for p in running):
            sys.exit("experts.py: compiling failed")
        running = [p for p in running if p.poll() is None]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="CSV of rows; goes on where an earlier run stopped")
    parser.add_argument("--check", help="CSV of random row counts apart from the grid, measured first")
    parser.add_argument("--shapes", type=int, default=16, help="random row counts of each model, format and routing")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=[])
    parser.add_argument("--budget", type=float, default=1e9, help="seconds in all, compiling not counted")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=12, help="processes that compile ahead; 0: none does")
    parser.add_argument("--compile", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.workers and not args.compile:
        began = time.monotonic()
        compile_ahead(args.models, args.workers)
        print(f"compiled in {time.monotonic() - began:.0f} s", flush=True)
    import vllm
    from vllm.config import VllmConfig, set_current_vllm_config
    with set_current_vllm_config(VllmConfig()), torch.inference_mode():
        device = bench.Device()
        if args.compile:
            experts = Experts(device, *MODELS[args.compile[0]][:5], args.compile[1])
            for m in ROWS:
                experts.launches(m, "balanced", 1)(0)
            torch.cuda.synchronize()
            return
        notes = {"kernels": f"fused_experts of vLLM {vllm.__version__} (Triton {__import__('triton').__version__})",
                 "clocks": "as found; a rest half as long after each burst"}
        out = bench.Rows(args.out, notes)
        check = bench.Rows(args.check, notes) if args.check else None
        ends, names = time.monotonic() + args.budget, todo(args.models)
        for at, (name, dtype) in enumerate(names):
            began = time.monotonic()
            until = began + (ends - began) / (len(names) - at)
            experts = Experts(device, *MODELS[name][:5], dtype)
            experts.verify()
            rng = random.Random(f"{args.seed} {name} {dtype}")
            drawn = [row_of(name, dtype, r, round(16384 ** rng.random())) for r in ("uniform", "balanced")
                     for _ in range(args.shapes)]
            grid = [row_of(name, dtype, r, m) for m in ROWS for r in ("uniform", "balanced")]
            rng.shuffle(grid)
            for table, shapes in ((out, grid), (check, drawn if check else [])):
                for row in shapes:
                    if time.monotonic() < until and not table.has(row):
                        table.add(row, *experts.time_us(row["m"], row["routing"]))
            print(f"{name} {dtype}: {time.monotonic() - began:.0f} s", flush=True)
            del experts
            torch.cuda.empty_cache()
        for table in (out, check):
            if table:
                table.close()


if __name__ == "__main__":
    main()
