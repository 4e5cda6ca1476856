#!/usr/bin/env python3
"""Times vLLM's own kernels of recurrent layers on the GPU at hand (Triton): the gated delta rule of Qwen3-Next, one token a sequence and
whole prompts, and Mamba-2's state update as in Nemotron-H.

    PYTHONPATH=SITE calibrate/vllm/recurrent.py --out recurrent.csv [--budget 120]

Decodes read and write a state each, from memory, at random places of a pool; `bytes` are those of the states. Random data, in CUDA graphs.
"""
import argparse
import random
import time

import bench
import torch

BATCHES = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256)
TOKENS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
HEADS = ((16, 32), (8, 16), (4, 8), (2, 4))          # Qwen3-Next on 1, 2, 4, 8 ranks: heads of keys, of values; 128 wide
MAMBA = ((128, 64, 128, 8), (64, 64, 128, 4), (128, 80, 128, 8))  # heads, head dim, state, groups: Nemotron-3-Nano (whole, TP 2), Nemotron-H-8B
POOL_BYTES = 8 << 30


def spread(count, slots, rng):
    return torch.tensor(rng.sample(range(1, slots), count), dtype=torch.int32, device="cuda")


class Delta:
    def __init__(self, heads, value_heads, dtype, rng):
        from vllm.third_party.flash_linear_attention.ops.chunk import chunk_gated_delta_rule
        from vllm.third_party.flash_linear_attention.ops.fused_recurrent import fused_recurrent_gated_delta_rule
        self.step, self.chunk = fused_recurrent_gated_delta_rule, chunk_gated_delta_rule
        self.heads, self.value_heads, self.rng = heads, value_heads, rng
        each = value_heads * 128 * 128 * (2 if dtype == torch.bfloat16 else 4)
        self.slots, self.each = min(POOL_BYTES // each, 2048), each
        self.states = torch.zeros((self.slots, value_heads, 128, 128), dtype=dtype, device="cuda")

    def inputs(self, tokens):
        wide = lambda heads: torch.randn((1, tokens, heads, 128), device="cuda").to(torch.bfloat16)
        g = -torch.rand((1, tokens, self.value_heads), device="cuda")
        return wide(self.heads), wide(self.heads), wide(self.value_heads), g, torch.rand_like(g).to(torch.bfloat16)

    def decode(self, batch, instances):
        q, k, v, g, beta = self.inputs(batch)
        starts = torch.arange(batch + 1, dtype=torch.int64, device="cuda")
        places = [spread(batch, self.slots, self.rng) for _ in range(min(instances, 16))]
        return lambda i: self.step(q=q, k=k, v=v, g=g, beta=beta, initial_state=self.states, inplace_final_state=True, cu_seqlens=starts,
                                   ssm_state_indices=places[i % len(places)], use_qk_l2norm_in_kernel=True)

    def prefill(self, tokens, state):
        q, k, v, g, beta = self.inputs(tokens)
        starts = torch.tensor([0, tokens], dtype=torch.int64, device="cuda")
        return lambda i: self.chunk(q=q, k=k, v=v, g=g, beta=beta, initial_state=state, output_final_state=True, cu_seqlens=starts,
                                    use_qk_l2norm_in_kernel=True)

    def verify(self):
        """A step by hand in double precision."""
        q, k, v, g, beta = self.inputs(2)
        state = torch.randn((3, self.value_heads, 128, 128), device="cuda")
        start = state[2].double().clone()
        out, _ = self.step(q=q[:, :1], k=k[:, :1], v=v[:, :1], g=g[:, :1], beta=beta[:, :1], initial_state=state, inplace_final_state=True,
                           cu_seqlens=torch.tensor([0, 1], device="cuda"), ssm_state_indices=torch.tensor([2], dtype=torch.int32, device="cuda"),
                           use_qk_l2norm_in_kernel=True)
        unit = lambda x: x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt()
        group = self.value_heads // self.heads
        qh, kh = (unit(x[0, 0].double()).repeat_interleave(group, 0) for x in (q, k))
        s = start * g[0, 0].double().exp()[:, None, None]
        delta = beta[0, 0].double()[:, None] * (v[0, 0].double() - torch.einsum("hvk,hk->hv", s, kh))
        s = s + torch.einsum("hv,hk->hvk", delta, kh)
        want = torch.einsum("hvk,hk->hv", s, qh * 128 ** -0.5)
        return ((out[0, 0].double() - want).norm() / want.norm()).item()


class Mamba2:
    def __init__(self, heads, dim, state, groups, rng):
        from vllm.model_executor.layers.mamba.ops.mamba_ssm import selective_state_update
        self.update, self.shape, self.rng = selective_state_update, (heads, dim, state, groups), rng
        self.each = heads * dim * state * 4
        self.slots = min(POOL_BYTES // self.each, 1024)
        self.states = torch.zeros((self.slots, heads, dim, state), device="cuda")

    def decode(self, batch, instances):
        heads, dim, state, groups = self.shape
        x, out = (torch.randn((batch, heads, dim), device="cuda").to(torch.bfloat16) for _ in range(2))
        dt = torch.rand((batch, heads), device="cuda").to(torch.bfloat16)[:, :, None].expand(-1, -1, dim)
        a = -torch.rand(heads, device="cuda")[:, None, None].expand(-1, dim, state)
        b, c = (torch.randn((batch, groups, state), device="cuda").to(torch.bfloat16) for _ in range(2))
        d = torch.rand(heads, device="cuda")[:, None].expand(-1, dim)
        bias = torch.rand(heads, device="cuda")[:, None].expand(-1, dim)
        places = [spread(batch, self.slots, self.rng) for _ in range(min(instances, 16))]
        return lambda i: self.update(self.states, x, dt, a, b, c, d, bias, dt_softplus=True, state_batch_indices=places[i % len(places)], out=out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="CSV of rows; goes on where an earlier run stopped")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds in all")
    args = parser.parse_args()
    ends, device, rng = time.monotonic() + args.budget, bench.Device(), random.Random(1)
    rows = bench.Rows(args.out, {"kernels": "flash linear attention and Mamba-2 (Triton) of vLLM 0.26.0", "clocks": "as found; a rest half as long after each burst"})

    def measure(row, moved, ideal_us, make):
        row = {**row, "bytes": moved}
        if time.monotonic() > ends or rows.has(row):
            return
        try:
            instances = bench.instances_for(ideal_us, 64)
            rows.add(row, *device.time_us(make(instances), instances))
        except Exception as failure:  # one shape less
            print(f"{row}: {type(failure).__name__} {failure}", flush=True)

    for dtype, word in ((torch.bfloat16, "bf16"), (torch.float32, "fp32")):
        for heads, value_heads in HEADS:
            delta = Delta(heads, value_heads, dtype, rng)
            error = delta.verify()
            print(f"delta {heads}/{value_heads} {word}: relative error {error:.2g}", flush=True)
            if not error < 0.02:
                raise SystemExit("recurrent.py: the kernel's results are wrong")
            for batch in BATCHES:
                moved = 2 * batch * delta.each
                measure({"op": "delta_decode", "state": word, "heads": heads, "value_heads": value_heads, "batch": batch}, moved, 3.0 + moved / 3e6,
                        lambda instances, b=batch: delta.decode(b, instances))
            for tokens in TOKENS if dtype == torch.float32 else ():
                state = torch.zeros((1, value_heads, 128, 128), device="cuda")
                measure({"op": "delta_prefill", "state": word, "heads": heads, "value_heads": value_heads, "batch": tokens}, 2 * delta.each,
                        40.0 + tokens / 5.0, lambda _, t=tokens, s=state: delta.prefill(t, s))
            del delta
            torch.cuda.empty_cache()
    for shape in MAMBA:
        mamba = Mamba2(*shape, rng)
        for batch in BATCHES:
            moved = 2 * batch * mamba.each
            measure({"op": "mamba2_decode", "state": "fp32", "heads": shape[0], "value_heads": shape[1], "batch": batch}, moved, 3.0 + moved / 3e6,
                    lambda instances, b=batch: mamba.decode(b, instances))
        del mamba
        torch.cuda.empty_cache()
    rows.close()
    print(f"{len(rows.known)} rows", flush=True)


if __name__ == "__main__":
    main()
