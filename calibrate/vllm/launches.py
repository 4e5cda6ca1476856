#!/usr/bin/env python3
"""Times how long the host of a real vLLM takes to launch a model's layers: the duration of the model's forward call in
the engine's own process, of steps that no graph holds whole, while other sequences are being served.

    PYTHONPATH=SITE:calibrate/vllm calibrate/vllm/launches.py --model llama-3.1-8b --out launches.csv

Weights are random; the architecture is models/NAME.json of this project. A step of at most 512 tokens with a chunk of a
prompt runs from piecewise graphs, with attention launched layer by layer; a larger one is launched kernel by kernel.
The device is asynchronous: what is timed is the launching. Rows: one forward call each.
"""
import argparse
import asyncio
import csv
import json
import os
import random
import tempfile
import time

PROMPTS = (128, 384, 600, 1024, 2048)  # at most a step's tokens, 2,048 by default
STREAMS = (0, 32, 128)
REPEATS = 20


class Probe:
    """Mixed into vLLM's worker (worker_extension_cls)."""

    def watch_launches(self):
        calls = self.launch_calls = []
        model = self.get_model()

        def before(module, args, kwargs):
            module.launch_began = time.perf_counter()

        def after(module, args, kwargs, output):
            ids = kwargs.get("input_ids", args[0] if args else None)
            calls.append((0 if ids is None else int(ids.shape[0]), time.perf_counter() - module.launch_began))

        model.register_forward_pre_hook(before, with_kwargs=True)
        model.register_forward_hook(after, with_kwargs=True)

    def take_launches(self):
        calls, self.launch_calls[:] = list(self.launch_calls), []
        return calls


async def measure(args, folder, layers, rows):
    from vllm import SamplingParams
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.async_llm import AsyncLLM
    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(
        model=folder, skip_tokenizer_init=True, load_format="dummy", dtype="bfloat16", gpu_memory_utilization=0.9,
        max_num_seqs=256, enable_prefix_caching=False, worker_extension_cls="launches.Probe", seed=0,
        **json.loads(args.engine)))
    await engine.collective_rpc("watch_launches")
    rng = random.Random(1)

    async def request(name, tokens, output):
        sampling = SamplingParams(temperature=0.0, max_tokens=output, ignore_eos=True, detokenize=False,
                                  output_kind=RequestOutputKind.DELTA)
        async for _ in engine.generate({"prompt_token_ids": rng.choices(range(10, 30000), k=tokens)}, sampling, name):
            pass

    for tokens in PROMPTS:  # Triton compiles at first use
        await request(f"warm-{tokens}", tokens, 2)
    for streams in STREAMS:
        others = [asyncio.create_task(request(f"stream-{streams}-{i}", 64, 6000)) for i in range(streams)]
        await asyncio.sleep(3.0 if streams else 0.1)
        await engine.collective_rpc("take_launches")
        for tokens in PROMPTS:
            for i in range(REPEATS):
                await request(f"probe-{streams}-{tokens}-{i}", tokens, 1)
                await asyncio.sleep(0.02)
            for launched, seconds in (await engine.collective_rpc("take_launches"))[0]:
                if launched >= tokens:  # with a prompt
                    rows.append((args.model, layers, streams, tokens, launched, f"{1e3 * seconds:.4g}",
                                 f"{1e3 * seconds / layers:.4g}"))
        for task in others:
            task.cancel()
        await engine.abort([f"stream-{streams}-{i}" for i in range(streams)])
        await asyncio.gather(*others, return_exceptions=True)
    engine.shutdown()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--models", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../models"))
    parser.add_argument("--out", required=True, help="CSV; rows are appended")
    parser.add_argument("--engine", default="{}", help="JSON of further engine arguments")
    args = parser.parse_args()
    config = json.load(open(os.path.join(args.models, args.model + ".json")))
    with tempfile.TemporaryDirectory() as folder:
        json.dump(config, open(os.path.join(folder, "config.json"), "w"))
        rows = []
        try:
            asyncio.run(measure(args, folder, config["num_hidden_layers"], rows))
        finally:
            fresh = not os.path.exists(args.out)
            with open(args.out, "a", newline="") as file:
                out = csv.writer(file, lineterminator="\n")
                if fresh:
                    out.writerow(("model", "layers", "streams", "prompt_tokens", "step_tokens", "forward_ms", "layer_ms"))
                out.writerows(rows)
            for key in sorted({(row[2], row[3]) for row in rows}):
                values = sorted(float(row[6]) for row in rows if (row[2], row[3]) == key)
                print(f"{args.model}: {key[0]} streams, {key[1]} tokens: {len(values)} steps, ms a layer "
                      f"{values[len(values) // 10]:.3f} {values[len(values) // 2]:.3f} {values[len(values) * 9 // 10]:.3f}")


if __name__ == "__main__":
    main()
