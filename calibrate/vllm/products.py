#!/usr/bin/env python3
"""Times vLLM's own fp8 products on the GPU at hand: cutlass_scaled_mm of a vLLM wheel, e4m3 on both sides, one scale a
token and one a weight matrix, bf16 out, as online fp8 and FP8-dynamic checkpoints call it; and what a power limit makes
of products, fp8 and bf16, that follow one another without a rest.

    PYTHONPATH=SITE calibrate/vllm/products.py --out products.csv [--check check.csv] [--trains trains.csv] [--budget 100]
    kingman calibrate --check check.csv --profile h200-sxm-vllm

The wheel's extension alone is loaded, not the package. On Hopper it takes one fixed tile each for m of up to 16, 64, 128
and above, and others for n of up to 1,280 (vllm 0.26.0, csrc/.../scaled_mm_sm90_fp8_dispatch.cuh): so rows on both sides
of each. Weights come from memory, activations stay where they are. Rows: class gemm; gemm_sustained after two seconds of
heating, without a rest. Trains: one line a replay, products that begin after seconds of idling or of reading memory, and
the watts of each load in its steady state by the energy counter.
"""
import argparse
import os
import random
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench
import torch

FP8 = torch.float8_e4m3fn
POOL_BYTES = 8 << 30
ROWS = (1, 8, 16, 17, 24, 32, 48, 64, 65, 96, 128, 129, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096, 8192)
# n, k of Llama 3.1 8B and 70B: QKV, output, gate and up, down; whole and on 2, 4 and 8 ranks
MODELS = [(4096, 14336, 32, 8), (8192, 28672, 64, 8)]
RANKS = (1, 2, 4, 8)
# what lies between; on both sides of 1,280
WIDTHS = (512, 1280, 1296, 2048, 3072, 5120, 8192, 12288, 20480, 40960)
DEPTHS = (512, 1024, 2048, 3584, 5120, 8192, 11008, 16384, 28672)
MOST_WEIGHTS = 512 << 20
HOT_S = 65.0  # of the budget kept for what does not rest
SUSTAINED = [(n, k, m) for n in (4096, 8192, 28672) for k in (4096, 8192) for m in (128, 256, 512, 1024, 2048, 8192)]


def matrices():
    for hidden, width, heads, kv_heads in MODELS:
        for ranks in RANKS:
            yield (heads + 2 * kv_heads) * 128 // ranks, hidden
            yield hidden, hidden // ranks
            yield 2 * width // ranks, hidden
            yield hidden, width // ranks


def library():
    for folder in sys.path:
        path = os.path.join(folder, "vllm", "_C_stable_libtorch.abi3.so")
        if os.path.exists(path):
            return path
    sys.exit("products.py: no vllm/_C_stable_libtorch.abi3.so in PYTHONPATH")


class Products:
    def __init__(self, device):
        torch.ops.load_library(library())
        self.device, self.multiply = device, torch.ops._C.cutlass_scaled_mm
        self.pool = torch.empty(POOL_BYTES, dtype=FP8, device="cuda")
        part = torch.randn(1 << 28, device="cuda").to(FP8)
        for at in range(0, POOL_BYTES, 1 << 28):
            self.pool[at:at + (1 << 28)].copy_(part)
        self.bf16 = torch.randn(1 << 28, device="cuda").to(torch.bfloat16)

    def launches(self, dtype, n, k, m, instances):
        pool = self.pool if dtype == "fp8" else self.bf16
        slots = pool.numel() // (n * k)
        out = torch.empty((m, n), dtype=torch.bfloat16, device="cuda")
        x = torch.randn((m, k), device="cuda").to(pool.dtype)
        weights = [pool[(i % slots) * n * k:(i % slots + 1) * n * k].view(n, k).t() for i in range(instances)]
        scale_x, scale_w = torch.full((m, 1), 0.05, device="cuda"), torch.full((1,), 0.02, device="cuda")

        def launch(i):
            if dtype == "fp8":
                self.multiply(out, x, weights[i], scale_x, scale_w, None)
            else:
                torch.mm(x, weights[i], out=out)

        launch.x, launch.weights, launch.out = x, weights, out
        return launch

    def instances(self, dtype, n, k, m):
        size, rate = (1, 1.4e9) if dtype == "fp8" else (2, 0.75e9)
        ideal_us = 2.0 + max(n * k * size / 4e6, 2.0 * n * k * m / rate)
        return bench.instances_for(ideal_us, 64)

    def time_us(self, n, k, m):
        instances = self.instances("fp8", n, k, m)
        return self.device.time_us(self.launches("fp8", n, k, m, instances), instances)

    def verify(self):
        """A few results of every regime against double precision."""
        for n, k, m in [(4096, 4096, 1), (1280, 8192, 33), (6144, 4096, 100), (28672, 4096, 300), (512, 512, 1000)]:
            launch = self.launches("fp8", n, k, m, 2)
            launch.out.fill_(float("nan"))
            launch(1)
            want = launch.x[:4].double() @ launch.weights[1].double() * 0.001
            error = ((launch.out[:4].double() - want).norm() / want.norm()).item()
            print(f"n {n} k {k} m {m}: relative error {error:.2g}", flush=True)
            if not error < 0.01 or launch.out.isnan().any():
                sys.exit("products.py: the kernel's results are wrong")

    def replays(self, dtype, n, k, m, until_s, most=100000):
        """(begin, end) events of replays of 2 ms, launched without a rest for so many seconds, and products in each."""
        instances = max(1, round(2e3 / (2.0 * n * k * m / (1.3e9 if dtype == "fp8" else 0.7e9) + 5.0)))
        launch = self.launches(dtype, n, k, m, instances)
        launch(0)
        torch.cuda.synchronize()
        return self.spin(self.device.capture(launch, instances), until_s, most), instances

    @staticmethod
    def spin(graph, until_s, most=100000):
        began, events = time.monotonic(), [torch.cuda.Event(enable_timing=True)]
        events[0].record()
        while time.monotonic() - began < until_s and len(events) <= most:
            graph.replay()
            events.append(torch.cuda.Event(enable_timing=True))
            events[-1].record()
            if len(events) > 4:
                events[-4].synchronize()  # a few launches ahead, no more
        events[-1].synchronize()
        return events


def row_of(n, k, m, op="gemm", dtype="fp8"):
    return {"op": op, "weights": dtype, "activations": dtype, "n": n, "k": k, "m": m}


def measure_sustained(products, rows, ends):
    for dtype in ("fp8", "bf16"):
        shapes = [s for s in SUSTAINED if not rows.has(row_of(*s, "gemm_sustained", dtype))]
        random.Random(dtype).shuffle(shapes)
        if shapes:
            products.replays(dtype, 8192, 8192, 4096, 2.0)
        for n, k, m in shapes:
            if time.monotonic() > ends:
                return
            events, instances = products.replays(dtype, n, k, m, 0.16)
            us = [1e3 * a.elapsed_time(b) / instances for a, b in zip(events, events[1:])]
            late = sorted(us[len(us) // 3:])
            rows.add(row_of(n, k, m, "gemm_sustained", dtype), statistics.median(late),
                     (late[int(0.84 * len(late))] - late[int(0.16 * len(late))]) / 2.0)


def measure_trains(products, path, ends):
    """Products after a rest and after reads, and watts in the steady state of each load."""
    import pynvml
    pynvml.nvmlInit()
    gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
    energy = lambda: (pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu), time.monotonic())
    stream = products.device.capture(lambda i: torch.sum(products.device.scrub, dim=0, out=products.device.sum), 40)
    fresh = not os.path.exists(path)
    with open(path, "a") as file:
        if fresh:
            name, driver = bench.smi("name", "driver_version")
            file.write(f"# {name}, driver {driver}; 8192 x 8192 products of m rows; t_ms: since the train began\n")
            file.write("load,after,m,t_ms,us,watts,sm_mhz\n")

        def watts(load, m, spin):
            spin(0.7)
            joules, began = energy()
            spin(1.0)
            more, ended = energy()
            clock = pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM)
            file.write(f"{load},steady,{m},,,{(more - joules) / 1e3 / (ended - began):.1f},{clock}\n")
            file.flush()

        watts("idle", 0, time.sleep)
        watts("stream", 0, lambda s: products.spin(stream, s))
        for dtype in ("bf16", "fp8"):
            for m in (8192, 256, 32):
                if time.monotonic() > ends:
                    return
                for after in ("idle", "stream") if m == 8192 else ():
                    time.sleep(2.0)
                    if after == "stream":
                        products.spin(stream, 1.0)
                    events, instances = products.replays(dtype, 8192, 8192, m, 1.0)
                    for a, b in zip(events, events[1:]):
                        us = 1e3 * a.elapsed_time(b) / instances
                        file.write(f"{dtype},{after},{m},{events[0].elapsed_time(a):.4g},{us:.5g},,\n")
                watts(dtype, m, lambda s: products.replays(dtype, 8192, 8192, m, s))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="CSV of rows; goes on where an earlier run stopped")
    parser.add_argument("--check", help="CSV of random shapes apart from the grid, measured first")
    parser.add_argument("--shapes", type=int, default=400, help="random shapes")
    parser.add_argument("--trains", help="CSV of trains of products and of watts, measured last")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds in all")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    ends = time.monotonic() + args.budget
    products = Products(bench.Device())
    products.verify()
    notes = {"kernels": "cutlass_scaled_mm of vLLM 0.26.0 (fp8), cuBLAS through torch.mm (bf16, sustained only)",
             "clocks": "as found; a rest half as long after each burst; none in gemm_sustained"}
    rows = bench.Rows(args.out, notes)
    rng = random.Random(args.seed)
    steps = [row_of(n, k, m) for n, k in dict.fromkeys(matrices()) for m in ROWS]
    between = [row_of(n, k, m) for n in WIDTHS for k in DEPTHS for m in ROWS if n * k <= MOST_WEIGHTS]
    even = lambda low, high, unit: round(low * (high / low) ** rng.random() / unit) * unit
    drawn = [row_of(even(512, 32768, 16), even(512, 16384, 16), even(1, 8192, 1)) for _ in range(args.shapes)]
    rng.shuffle(steps)
    rng.shuffle(between)

    def measure(table, shapes, until):
        for row in shapes:
            if time.monotonic() > until:
                break
            if not table.has(row) and row["n"] * row["k"] <= MOST_WEIGHTS:
                table.add(row, *products.time_us(row["n"], row["k"], row["m"]))

    if args.check:
        check = bench.Rows(args.check, notes)
        measure(check, drawn, ends)
        check.close()
        print(f"check: {len(check.known)} rows", flush=True)
    measure(rows, steps, ends)
    print(f"models: {len(rows.known)} rows", flush=True)
    measure(rows, between, ends - (HOT_S if args.trains else 0.0))
    print(f"between: {len(rows.known)} rows", flush=True)
    measure_sustained(products, rows, ends)  # it leaves the device hot
    rows.close()
    print(f"sustained: {len(rows.known)} rows", flush=True)
    if args.trains:
        measure_trains(products, args.trains, ends)


if __name__ == "__main__":
    main()
