"""What the scripts beside this one share: timing in CUDA graphs as kingman-calibrate does it, and the CSV of
`kingman calibrate --import csv` (configs/profiles/README.md), which grows row by row and is gone on with."""
import datetime
import os
import statistics
import subprocess
import sys
import time

import torch

L2_BYTES = 60 << 20  # H200; three times as much is read before every replay
BURST_US = 400.0     # work in one graph
REPLAYS = 5


class Device:
    """The GPU at hand: what is read to empty its L2 cache, and a memory pool that all graphs share."""

    def __init__(self):
        torch.cuda.init()
        self.scrub = torch.ones(3 * L2_BYTES // 4, dtype=torch.float32, device="cuda")
        self.sum = torch.empty((), dtype=torch.float32, device="cuda")
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream()
        torch.cuda.set_stream(self.stream)
        self.anchor = self.capture(lambda i: torch.sum(self.scrub, dim=0, out=self.sum), 1)  # keeps the pool in use

    def capture(self, launch, instances):
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(pool=self.pool)
        try:
            for i in range(instances):
                launch(i)
        finally:
            graph.capture_end()
        return graph

    def time_us(self, launch, instances):
        """Median and spread (half the distance of the 16th and 84th percentile) of one launch's microseconds;
        launch(i) runs instance i, once outside of the graph first."""
        launch(0)
        graph = self.capture(launch, instances)
        graph.replay()
        samples = []
        for _ in range(REPLAYS):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.sum(self.scrub, dim=0, out=self.sum)
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            samples.append(begin.elapsed_time(end) * 1e3 / instances)
            if samples[-1] * instances > 20e3 and len(samples) >= 3:
                break  # long kernels hardly vary
        time.sleep(min(0.5, 0.5e-6 * sum(samples) * instances))  # a rest half as long as the burst
        del graph
        samples.sort()
        at = lambda share: samples[min(len(samples) - 1, int(share * len(samples)))]
        return statistics.median(samples), (at(0.84) - at(0.16)) / 2.0


def instances_for(ideal_us, most):
    return max(1, min(most, int(BURST_US / ideal_us)))


def smi(*fields):
    out = subprocess.run(["nvidia-smi", "--query-gpu=" + ",".join(fields), "--format=csv,noheader,nounits"],
                         capture_output=True, text=True)
    return out.stdout.strip().splitlines()[0].split(", ") if out.returncode == 0 else ["unknown"] * len(fields)


def command():
    """As it was typed, without folders."""
    return "calibrate/vllm/" + " ".join(os.path.basename(word) for word in sys.argv)


class Rows:
    """A CSV of rows by operator. Those that an earlier run left are kept and not measured again."""

    def __init__(self, path, notes):
        self.path, self.known, self.columns = path, set(), None
        if os.path.exists(path):
            columns = None
            for line in open(path):
                values = line.strip().split(",")
                if line.startswith("op,"):
                    columns = values
                elif not line.startswith("#") and columns and len(values) == len(columns):
                    self.known.add(self.key(dict(zip(columns, values))))
            self.out = open(path, "a")
        else:
            self.out = open(path, "w")
            name, driver = smi("name", "driver_version")
            notes = {"source": "own measurement", "device_name": name, "driver": driver,
                     "cuda": torch.version.cuda, "torch": torch.__version__,
                     "date": datetime.date.today().isoformat(), "command": command(), **notes}
            for key, value in notes.items():
                self.out.write(f"# {key}: {value}\n")
        self.clocks = []

    @staticmethod
    def key(row):
        return frozenset((k, str(v)) for k, v in row.items() if k not in ("us", "spread"))

    def has(self, row):
        return self.key(row) in self.known

    def add(self, row, us, spread):
        self.known.add(self.key(row))
        columns = list(row) + ["us", "spread"]
        if columns != self.columns:
            self.out.write(",".join(columns) + "\n")
            self.columns = columns
        self.out.write(",".join(str(v) for v in row.values()) + f",{us:.5g},{spread:.3g}\n")
        self.out.flush()
        if len(self.known) % 100 == 1:
            self.clocks.append([float(v) for v in smi("clocks.sm", "temperature.gpu")])

    def close(self):
        """Clocks and temperatures seen meanwhile go into a comment."""
        if self.clocks:
            sm, celsius = zip(*self.clocks)
            self.out.write(f"# SM clock {min(sm):.0f} to {max(sm):.0f} MHz, {min(celsius):.0f} to {max(celsius):.0f} C\n")
        self.out.close()
