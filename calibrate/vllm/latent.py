#!/usr/bin/env python3
"""Times multi-head latent attention as vLLM runs it on Hopper: FlashAttention 3 of a vLLM wheel, over pages of latents
(512 values and 64 rotary ones a token, bf16), called as vllm/v1/attention/backends/mla/flashattn_mla.py (0.26.0) calls it.

    PYTHONPATH=SITE calibrate/vllm/latent.py --out latent.csv [--check latent-check.csv] [--budget 40]

Rows: attention_mla_decode (batch single queries of one context, absorbed form), attention_mla_chunk (one chunk of at most
512 tokens, which takes the absorbed form too), attention_mla_prefill (longer chunks after their latents were
decompressed: heads of 192 for keys and 128 for values; with a past, not causal, over the past alone). Products that absorb,
decompress or project are not in the times. Heads: 16 (DeepSeek-V2-Lite; V3 on one of eight ranks), 128 (V3 whole).
"""
import argparse
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench
import torch

PAGE, LATENT, ROPE, NOPE, VALUE = 16, 512, 64, 128, 128
POOL_TOKENS = 8 << 20  # 9.7 GB
GRAPH_TOKENS, GRAPH_SPLITS = 512, 32  # as for attention.py
HEADS = (16, 128)
BATCHES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256)
CONTEXTS = (16, 128, 512, 1024, 2048, 4096, 8192, 16384, 65536, 131072)
CHUNKS = (16, 32, 64, 128, 256, 384, 512)
PASTS = (0, 512, 2048, 8192, 32768)
TOKENS = (513, 768, 1024, 1536, 2048, 4096, 8192)
MOST_CACHED = 1 << 21


class Kernel:
    def __init__(self, device, heads):
        from vllm.vllm_flash_attn import flash_attn_interface as interface
        self.interface, self.device, self.heads = interface, device, heads
        self.pages = POOL_TOKENS // PAGE
        self.pool = torch.empty((self.pages, PAGE, LATENT + ROPE), dtype=torch.bfloat16, device="cuda")
        for at in range(0, self.pages, 4096):
            self.pool[at:at + 4096].copy_(torch.randn((min(4096, self.pages - at), PAGE, LATENT + ROPE), device="cuda"))
        self.order = torch.randperm(self.pages, device="cuda", dtype=torch.int32)

    def absorbed(self, queries, lengths, instances):
        """launch(i) of sequences of so many queries over so many tokens."""
        pages = [-(-n // PAGE) for n in lengths]
        total, need, tables, at = sum(queries), sum(pages), [], 0
        valid = torch.arange(max(pages), device="cuda")[None, :] < torch.tensor(pages, device="cuda")[:, None]
        for _ in range(instances):
            if at + need > self.pages:
                at = 0
            table = torch.zeros((len(lengths), max(pages)), dtype=torch.int32, device="cuda")
            table[valid] = self.order[at:at + need]
            tables.append(table)
            at += need
        starts = torch.tensor([0] + queries, device="cuda").cumsum(0).to(torch.int32)
        used = torch.tensor(lengths, dtype=torch.int32, device="cuda")
        rope = torch.randn((total, self.heads, ROPE), device="cuda").to(torch.bfloat16)
        latent = torch.randn((total, self.heads, LATENT), device="cuda").to(torch.bfloat16)
        keys, values = self.pool[..., LATENT:].unsqueeze(-2), self.pool[..., :LATENT].unsqueeze(-2)
        splits = GRAPH_SPLITS if total <= GRAPH_TOKENS else 0
        metadata = self.interface.get_scheduler_metadata(
            batch_size=len(lengths), max_seqlen_q=max(queries), max_seqlen_k=max(lengths), num_heads_q=self.heads,
            num_heads_kv=1, headdim=ROPE, cache_seqlens=used, qkv_dtype=torch.bfloat16, headdim_v=LATENT,
            page_size=PAGE, cu_seqlens_q=starts, causal=True, num_splits=splits)

        def launch(i):
            launch.out = self.interface.flash_attn_varlen_func(
                q=rope, k=keys, v=values, q_v=latent, max_seqlen_q=max(queries), cu_seqlens_q=starts,
                max_seqlen_k=max(lengths), seqused_k=used, block_table=tables[i], softmax_scale=(NOPE + ROPE) ** -0.5,
                causal=True, fa_version=3, scheduler_metadata=metadata, num_splits=splits)

        launch.rope, launch.latent, launch.tables = rope, latent, tables
        return launch

    def decompressed(self, tokens, past, instances):
        """launch(i) of a chunk over itself (past 0), or over the past alone."""
        keys = past or tokens
        q = torch.randn((tokens, self.heads, NOPE + ROPE), device="cuda").to(torch.bfloat16)
        k = torch.randn((keys, self.heads, NOPE + ROPE), device="cuda").to(torch.bfloat16)
        v = torch.randn((keys, self.heads, VALUE), device="cuda").to(torch.bfloat16)
        ends = [torch.tensor([0, n], dtype=torch.int32, device="cuda") for n in (tokens, keys)]

        def launch(i):
            launch.out = self.interface.flash_attn_varlen_func(
                q=q, k=k, v=v, cu_seqlens_q=ends[0], cu_seqlens_k=ends[1], max_seqlen_q=tokens, max_seqlen_k=keys,
                softmax_scale=(NOPE + ROPE) ** -0.5, causal=past == 0, return_softmax_lse=True, fa_version=3)

        return launch

    def time_us(self, row):
        if row["op"] == "attention_mla_prefill":
            tokens, past = row["tokens"], row["past"]
            pairs = tokens * past if past else tokens * (tokens + 1) / 2
            instances = bench.instances_for(4.0 + pairs * self.heads * 640 / 500e6, 16)
            return self.device.time_us(self.decompressed(tokens, past, instances), instances)
        if "batch" in row:
            queries, lengths = [1] * row["batch"], [row["context"]] * row["batch"]
        else:
            queries, lengths = [row["tokens"]], [row["tokens"] + row["past"]]
        pairs = sum(q * n for q, n in zip(queries, lengths))
        ideal_us = 4.0 + max(sum(lengths) * 1152 / 4e6, pairs * self.heads * 2176 / 500e6)
        most = max(1, min(16, POOL_TOKENS // (sum(lengths) + PAGE * len(lengths))))
        instances = bench.instances_for(ideal_us, most)
        return self.device.time_us(self.absorbed(queries, lengths, instances), instances)

    def verify(self):
        """Against a reference in double precision: ragged, the second of two instances."""
        queries, lengths = [1, 1, 1, 5], [1, 64, 3000, 205]
        launch = self.absorbed(queries, lengths, 2)
        launch(1)
        at, worst = 0, 0.0
        for row, (count, length) in enumerate(zip(queries, lengths)):
            pages = launch.tables[1][row, :-(-length // PAGE)].long()
            kv = self.pool[pages].double().reshape(-1, LATENT + ROPE)[:length]
            q = torch.cat((launch.latent[at:at + count], launch.rope[at:at + count]), dim=-1).double()
            scores = torch.einsum("qhd,kd->hqk", q, kv) * (NOPE + ROPE) ** -0.5
            visible = torch.arange(length, device="cuda")[None, :] <= torch.arange(length - count, length, device="cuda")[:, None]
            scores.masked_fill_(~visible, float("-inf"))
            want = torch.einsum("hqk,kd->qhd", scores.softmax(-1), kv[:, :LATENT])
            worst = max(worst, ((launch.out[at:at + count].double() - want).norm() / want.norm()).item())
            at += count
        print(f"{self.heads} heads: relative error {worst:.2g}", flush=True)
        if not worst < 0.02:
            sys.exit("latent.py: the kernel's results are wrong")


def shape(op, heads, **sizes):
    return {"op": op, "kv_dtype": "bf16", "heads": heads, "latent": LATENT, "rope": ROPE, **sizes}


def grid(heads):
    for b in BATCHES:
        for c in CONTEXTS:
            if b * c <= MOST_CACHED:
                yield shape("attention_mla_decode", heads, batch=b, context=c)
    for t in CHUNKS:
        for p in PASTS:
            yield shape("attention_mla_chunk", heads, past=p, tokens=t)
    for t in TOKENS:
        for p in PASTS:
            if (p + t) * heads <= 32768 * 64:
                yield shape("attention_mla_prefill", heads, past=p, tokens=t)


def drawn(heads, count, rng):
    log = lambda low, high: round(low * (high / low) ** rng.random())
    while count > 0:
        batch, context = log(1, 256), log(32, 65536)
        if batch * context <= MOST_CACHED:
            yield shape("attention_mla_decode", heads, batch=batch, context=context)
            yield shape("attention_mla_chunk", heads, past=rng.choice((0, log(64, 16384))), tokens=log(8, 512))
            count -= 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="CSV of rows; goes on where an earlier run stopped")
    parser.add_argument("--check", help="CSV of random shapes apart from the grid, measured first")
    parser.add_argument("--shapes", type=int, default=120, help="random shapes of each number of heads")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds in all")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    ends = time.monotonic() + args.budget
    device = bench.Device()
    notes = {"kernels": "FlashAttention 3 of vLLM 0.26.0, pages of 16 latents",
             "clocks": "as found; a rest half as long after each burst"}
    rows = bench.Rows(args.out, notes)
    check = bench.Rows(args.check, notes) if args.check else None
    for at, heads in enumerate(HEADS):
        until = time.monotonic() + (ends - time.monotonic()) / (len(HEADS) - at)
        kernel = Kernel(device, heads)
        kernel.verify()
        rng = random.Random(f"{args.seed} {heads}")
        shapes = list(grid(heads))
        rng.shuffle(shapes)
        for table, todo in ((check, drawn(heads, args.shapes, rng) if check else ()), (rows, shapes)):
            for row in todo:
                if time.monotonic() > until:
                    break
                if not table.has(row):
                    table.add(row, *kernel.time_us(row))
        print(f"{heads} heads: {len(rows.known)} rows in all", flush=True)
        del kernel
        torch.cuda.empty_cache()
    for out in (rows, check):
        if out:
            out.close()


if __name__ == "__main__":
    main()
