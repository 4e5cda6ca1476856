#!/usr/bin/env python3
"""Times vLLM's own attention on a Hopper GPU: FlashAttention 3 of a vLLM wheel, over paged caches, called as
vllm/v1/attention/backends/flash_attn.py (0.26.0) calls it.

    PYTHONPATH=SITE calibrate/vllm/attention.py --out attention.csv [--check check.csv --shapes 300] [--budget 300]
    kingman calibrate --import csv attention.csv --device h200-sxm --out h200-sxm-vllm.json

One launch serves the whole step: decodes first, then the prompts' chunks. Rows: attention_mixed (one chunk and
decodes of one context), attention_prefill (one chunk), attention_decode (no chunk), attention_skew (decodes of
many lengths over as many of the mean). What is as in vLLM: pages of 16 tokens, keys beside values of each head
in one page; scheduler metadata computed ahead of the launch, once a step, and so not timed; at most 32 splits up
to 512 tokens (the sizes of captured graphs), FlashAttention's own choice above; decodes alone as captured for
131,072 tokens; over an fp8 cache queries are of fp8 too, one scale each. Pages are scattered at random.
"""
import argparse
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench
import torch

PAGE = 16
HEAD_DIM = 128
MAX_MODEL_LEN = 131072
MULTIPROCESSORS = 132
GRAPH_TOKENS = 512  # vllm/config/compilation.py: the largest size that graphs are captured for
GRAPH_SPLITS = 32   # vllm/config/attention.py: flash_attn_max_num_splits_for_cuda_graph
POOL_BYTES = 48 << 30
DTYPES = {"bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}

# heads and KV heads of a rank: 8B; 70B; Qwen3-30B-A3B and the 70B's half; the 70B's quarter; its eighth; the 8B's half
LAYOUTS = {"bf16": [(32, 8), (32, 4), (64, 8), (8, 1), (16, 2), (16, 4)],
           "fp8": [(32, 8), (8, 1), (64, 8), (32, 4)]}
TOKENS = (16, 32, 64, 128, 192, 256, 257, 384, 385, 496, 513, 768, 832, 833, 1024, 1536, 1680, 1681, 2048, 4096, 8192)
THIN_OUT = (192, 384, 768)  # tokens left out in all layouts but the first
PASTS = (0, 1024, 8192, 65536)
BATCHES = {"any": (1, 2, 4, 8, 16, 32, 64, 128, 256), "none": (1, 4, 16, 64, 128, 256)}
THIN_BATCHES = {"any": (1, 4, 16, 64, 256), "none": (1, 4, 16, 64, 128, 256)}
CONTEXTS = {"any": (32, 128, 512, 2048, 8192, 32768), "none": (64, 256, 1024, 4096, 16384, 65536)}
ALONE_BATCHES = (*range(1, 17), 18, 20, 22, 24, 28, 32, 36, 40, 44, 48, 56, 64, 72, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224,
                 240, 256, 320, 384, 512)
ALONE_CONTEXTS = (16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
ALONE_TOKENS = (16, 32, 48, 64, 80, 96, 112, 128, 129, 160, 192, 224, 256, 257, 320, 384, 448, 512, 513, 640, 768, 832, 833, 896,
                1024, 1280, 1536, 1680, 1681, 1792, 2048, 2560, 3072, 3584, 4096, 5120, 6144, 8192, 12288, 16384)
ALONE_PASTS = (0, 64, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
MOST_CACHED = 1 << 20  # tokens of decodes in a batch


class Kernel:
    """Attention of one head layout over a pool of pages."""

    def __init__(self, device, kv_dtype, heads, kv_heads):
        from vllm.vllm_flash_attn import flash_attn_interface as interface
        self.interface, self.device = interface, device
        self.kv_dtype, self.heads, self.kv_heads = kv_dtype, heads, kv_heads
        self.dtype = DTYPES[kv_dtype]
        self.size = 1 if kv_dtype == "fp8" else 2
        self.page_bytes = PAGE * kv_heads * 2 * HEAD_DIM * self.size
        # pages past the first 2 GiB hold the same numbers again
        self.pages = min(POOL_BYTES // self.page_bytes, 4 << 20)
        self.pool = torch.empty((self.pages, PAGE, kv_heads, 2 * HEAD_DIM), dtype=self.dtype, device="cuda")
        part = min(self.pages, (2 << 30) // self.page_bytes)
        for at in range(0, self.pages, part):
            count = min(part, self.pages - at)
            if at == 0:
                for i in range(0, count, 4096):
                    n = min(4096, count - i)
                    self.pool[i:i + n].copy_(torch.randn((n, PAGE, kv_heads, 2 * HEAD_DIM), device="cuda"))
            else:
                self.pool[at:at + count].copy_(self.pool[:count])
        self.keys, self.values = self.pool.split(HEAD_DIM, dim=-1)
        self.order = torch.randperm(self.pages, device="cuda", dtype=torch.int32)

    def step(self, chunks, contexts, instances, captured_for=None):
        """launch(i) of a step of chunks (tokens, past) and decodes; every instance has pages of its own."""
        queries = [1] * len(contexts) + [t for t, _ in chunks]
        lengths = list(contexts) + [t + p for t, p in chunks]
        pages = [-(-n // PAGE) for n in lengths]
        total, width = sum(queries), max(pages)
        tables, at = [], 0
        row_pages = torch.tensor(pages, device="cuda")
        valid = torch.arange(width, device="cuda")[None, :] < row_pages[:, None]
        for _ in range(instances):
            need = sum(pages)
            if at + need > self.pages:
                at = 0
            table = torch.zeros((len(lengths), width), dtype=torch.int32, device="cuda")
            table[valid] = self.order[at:at + need]
            tables.append(table)
            at += need
        starts = torch.tensor([0] + queries, device="cuda").cumsum(0).to(torch.int32)
        used = torch.tensor(lengths, dtype=torch.int32, device="cuda")
        query = torch.randn((total, self.heads, HEAD_DIM), device="cuda").to(self.dtype)
        out = torch.empty((total, self.heads, HEAD_DIM), dtype=torch.bfloat16, device="cuda")
        splits = GRAPH_SPLITS if total <= GRAPH_TOKENS else 0
        scale = torch.ones(1, device="cuda").expand(len(lengths), self.kv_heads)
        longest_query, longest = max(queries), captured_for or max(lengths)
        metadata = self.interface.get_scheduler_metadata(
            batch_size=len(lengths), max_seqlen_q=longest_query, max_seqlen_k=max(lengths), num_heads_q=self.heads,
            num_heads_kv=self.kv_heads, headdim=HEAD_DIM, cache_seqlens=used, qkv_dtype=self.dtype,
            cu_seqlens_q=starts, page_size=PAGE, causal=True, window_size=(-1, -1), num_splits=splits)

        def launch(i):
            self.interface.flash_attn_varlen_func(
                q=query, k=self.keys, v=self.values, out=out, cu_seqlens_q=starts, max_seqlen_q=longest_query,
                seqused_k=used, max_seqlen_k=longest, softmax_scale=HEAD_DIM ** -0.5, causal=True, window_size=[-1, -1],
                block_table=tables[i], softcap=0, scheduler_metadata=metadata, fa_version=3, q_descale=scale,
                k_descale=scale, v_descale=scale, num_splits=splits)

        launch.query, launch.out, launch.tables = query, out, tables
        return launch

    def ideal_us(self, chunks, contexts):
        pairs = sum(t * p + t * (t + 1) / 2 for t, p in chunks) + sum(contexts)
        tokens = sum(t + p for t, p in chunks) + sum(contexts)
        return 2.0 + max(pairs * self.heads * HEAD_DIM * 4 / 600e6, tokens * self.page_bytes / PAGE / 4e6)

    def time_us(self, chunks, contexts):
        most = max(1, self.pages * PAGE // max(1, sum(t + p + PAGE for t, p in chunks) + sum(c + PAGE for c in contexts)))
        instances = bench.instances_for(self.ideal_us(chunks, contexts), min(most, 16))
        captured_for = MAX_MODEL_LEN if not chunks and len(contexts) <= GRAPH_TOKENS else None
        return self.device.time_us(self.step(chunks, contexts, instances, captured_for), instances)

    def verify(self):
        """Against a reference in double precision: a mixed step, ragged, the second of two instances."""
        chunks, contexts = [(200, 77), (33, 0)], [1, 15, 16, 17, 700, 3000]
        launch = self.step(chunks, contexts, 2)
        launch.out.fill_(float("nan"))
        launch(0)
        launch.out.fill_(float("nan"))
        launch(1)
        at, worst = 0, 0.0
        for row, (queries, length) in enumerate([(1, c) for c in contexts] + [(t, t + p) for t, p in chunks]):
            pages = launch.tables[1][row, :-(-length // PAGE)].long()
            kv = self.pool[pages].double().reshape(-1, self.kv_heads, 2 * HEAD_DIM)[:length]
            keys, values = (x.repeat_interleave(self.heads // self.kv_heads, dim=1) for x in kv.split(HEAD_DIM, dim=-1))
            q = launch.query[at:at + queries].double()
            scores = torch.einsum("qhd,khd->hqk", q, keys) * HEAD_DIM ** -0.5
            visible = torch.arange(length, device="cuda")[None, :] <= torch.arange(length - queries, length, device="cuda")[:, None]
            scores.masked_fill_(~visible, float("-inf"))
            want = torch.einsum("hqk,khd->qhd", scores.softmax(-1), values)
            got = launch.out[at:at + queries].double()
            worst = max(worst, ((got - want).norm() / want.norm()).item())
            at += queries
        limit = 0.06 if self.kv_dtype == "fp8" else 0.01
        print(f"{self.kv_dtype} {self.heads}/{self.kv_heads}: relative error {worst:.2g}", flush=True)
        if not worst < limit:
            sys.exit("attention.py: the kernel's results are wrong")


def shape_row(op, kernel, **sizes):
    return {"op": op, "head_dim": HEAD_DIM, "kv_dtype": kernel[0], "heads": kernel[1], "kv_heads": kernel[2], **sizes}


def mixed_row(kernel, tokens, past, batch, context):
    return shape_row("attention_mixed", kernel, split=split(kernel, tokens, batch), tokens=tokens, past=past, batch=batch,
                     context=context)


def split(kernel, tokens, batch):
    """May the keys of one sequence be shared out among multiprocessors? `any` up to the largest captured size; above,
    where a chunk's tiles of 128 rows (the query heads of a KV head side by side) leave a fifth of the
    multiprocessors idle (hopper/heuristics.h, num_splits_heuristic, with hopper/flash_api.cpp: as if alone)."""
    tiles = kernel[2] * -(-tokens * (kernel[1] // kernel[2]) // 128)
    return "none" if tokens + batch > GRAPH_TOKENS and tiles >= 0.8 * MULTIPROCESSORS else "any"


def mixed_shapes(kernel):
    """Tokens on both sides of where the launch changes; none that lie closer than those to others of their kind."""
    thin = kernel[:3] != ("bf16", *LAYOUTS["bf16"][0])
    for word in ("any", "none"):
        for b in (THIN_BATCHES if thin else BATCHES)[word]:
            for t in (t for t in TOKENS if not thin or t not in THIN_OUT):
                edge = t in (257, 385, 832, 833, 1680, 1681)
                if split(kernel, t, b) != word or edge and split(kernel, t - 1, b) == word == split(kernel, t + 1, b):
                    continue
                for p in PASTS:
                    for c in CONTEXTS[word]:
                        if b * c <= MOST_CACHED:
                            yield mixed_row(kernel, t, p, b, c)


def alone_shapes(kernel):
    for b in ALONE_BATCHES:
        for c in ALONE_CONTEXTS:
            if b * c <= MOST_CACHED:
                yield shape_row("attention_decode", kernel, batch=b, context=c)
    for t in ALONE_TOKENS:
        for p in ALONE_PASTS:
            yield shape_row("attention_prefill", kernel, past=p, tokens=t)


def random_shapes(kernel, count, rng):
    """Shapes for the check: sizes at random, even in their logarithms."""
    log = lambda low, high: round(low * (high / low) ** rng.random())
    while count > 0:
        kind = rng.choice(("mixed", "decode", "prefill"))
        batch, context = log(1, 256), log(32, 65536)
        tokens, past = log(16, 8192), rng.choice((0, log(64, 65536)))
        if kind != "prefill" and batch * context > MOST_CACHED:
            continue
        if kind == "mixed":
            yield mixed_row(kernel, tokens, past, batch, context)
        elif kind == "decode":
            yield shape_row("attention_decode", kernel, batch=batch, context=context)
        else:
            yield shape_row("attention_prefill", kernel, past=past, tokens=tokens)
        count -= 1


def time_row(kernel, row):
    chunks = [(row["tokens"], row["past"])] if "tokens" in row else []
    return kernel.time_us(chunks, [row["context"]] * row["batch"] if "batch" in row else [])


def ragged_steps(count, rng):
    """Steps as a server runs them: several chunks, contexts spread log-normally or one long among short."""
    for _ in range(count):
        chunks = [(round(16 * 512 ** rng.random()), rng.choice((0, 0, round(16 * 512 ** rng.random()))))
                  for _ in range(rng.choice((0, 1, 1, 2, 3, 4, 6, 8)))]
        batch, mean = round(256 ** rng.random()), round(128 * 64 ** rng.random())
        contexts = [max(1, min(131072, round(mean * rng.lognormvariate(-0.32, 0.8)))) for _ in range(batch)]
        if rng.random() < 0.25:
            contexts[0] = rng.choice((8192, 32768, 131072))
        if sum(contexts) <= MOST_CACHED:
            yield chunks, contexts


def measure_ragged(kernel, rows, count, seed):
    rng = random.Random(seed)
    for chunks, contexts in ragged_steps(count, rng):
        text = " ".join(f"{t}+{p}" for t, p in chunks) or "-"
        row = {"op": "step", "kv_dtype": kernel.kv_dtype, "heads": kernel.heads, "kv_heads": kernel.kv_heads,
               "chunks": text, "batch": len(contexts), "cached": sum(contexts), "longest": max(contexts)}
        if not rows.has(row):
            rows.add(row, *kernel.time_us(chunks, contexts))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="CSV of rows; goes on where an earlier run stopped")
    parser.add_argument("--check", help="CSV of random shapes apart from the grid, measured first")
    parser.add_argument("--steps", help="CSV of ragged steps of several chunks, measured first")
    parser.add_argument("--shapes", type=int, default=60, help="random shapes of each head layout (60)")
    parser.add_argument("--kv", nargs="*", default=["bf16", "fp8"], choices=DTYPES)
    parser.add_argument("--heads", nargs="*", metavar="H,KV", help="these layouts instead: query heads and KV heads")
    parser.add_argument("--layouts", type=int, default=99, help="as many head layouts of each cache format")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds in all")
    parser.add_argument("--smoke", action="store_true", help="few shapes: does everything run?")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    ends = time.monotonic() + args.budget
    device = bench.Device()
    import vllm
    notes = {"kernels": f"FlashAttention 3 of vLLM {vllm.__version__}, pages of 16 tokens",
             "clocks": "as found; a rest half as long after each burst"}
    rows = bench.Rows(args.out, notes)
    check = bench.Rows(args.check, notes) if args.check else None
    steps = bench.Rows(args.steps, notes) if args.steps else None
    stated = [tuple(map(int, words.split(","))) for words in args.heads or ()]
    todo = [(kv, *layout) for kv in args.kv for layout in stated or LAYOUTS[kv][:args.layouts]]
    for at, name in enumerate(todo):
        began, until = time.monotonic(), time.monotonic() + (ends - time.monotonic()) / (len(todo) - at)
        kernel = Kernel(device, *name)
        kernel.verify()
        rng = random.Random(f"{args.seed} {name}")
        grid = list(mixed_shapes(name))
        alone = list(alone_shapes(name))
        rng.shuffle(grid)
        rng.shuffle(alone)
        if args.smoke:
            grid, alone = grid[:6], alone[:6]
        if check:
            for row in random_shapes(name, 4 if args.smoke else args.shapes, rng):
                if not check.has(row):
                    check.add(row, *time_row(kernel, row))
        if steps:
            measure_ragged(kernel, steps, 4 if args.smoke else args.shapes, f"{args.seed} ragged {name}")
        done = 0
        for row in alone + grid:
            if time.monotonic() > until:
                break
            if not rows.has(row):
                rows.add(row, *time_row(kernel, row))
            done += 1
        print(f"{name}: {done} of {len(alone) + len(grid)} shapes, {time.monotonic() - began:.0f} s", flush=True)
        del kernel
        torch.cuda.empty_cache()
    for out in (rows, check, steps):
        if out:
            out.close()


if __name__ == "__main__":
    main()
