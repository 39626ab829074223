"""One side of the bench, in a process of its own.

    python -m tools.benchmark.worker SIDE THREADS [GPU]

Reads commands from stdin, one JSON object a line, and answers each with one on stdout:
{"do": NAME, …} calls the method NAME of the side (TorchSide, Ceiling, CaffeSide) with the rest;
the answer is what it gives, or {"error": one line}. Two commands are the same for all sides:

  memory   {peak: the most memory that the process has had, bytes (VmHWM)}, and that of the GPU
  loss     {loss} of the scores that the last forward pass gave, from the softmax, in float64

Python >= 3.9, NumPy >= 1.19: BVLC Caffe's Python runs it too.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading

from prototxt.tasks import VOID

SIDES = ("engine", "unfolded", "bvlc", "torch", "ceiling")
ROW_SIDES = ("engine-rows", "module-rows")  # the GPU report's


def make(side, threads, gpu):
    """The object that answers for a side."""
    if side in ("torch", "ceiling"):
        from tools.benchmark import torch_side as bench_torch

        kind = bench_torch.Ceiling if side == "ceiling" else bench_torch.TorchSide
        return kind(gpu, threads)
    if side in ROW_SIDES:
        return _row_side(side, threads, gpu)
    from tools.benchmark.caffe_side import CaffeSide

    return CaffeSide(gpu, folded=side != "unfolded")


def _row_side(side, threads, gpu):
    if side == "engine-rows":
        from tools.gpu.engine_rows import EngineRows

        return EngineRows(gpu, threads)
    from tools.gpu.module_rows import ModuleRows

    return ModuleRows(gpu, threads)


def commands(stream):
    """Yield the lines of `stream` as they come. Where it ends while one is being worked on,
    whoever asked is gone, and this process ends at once."""
    lines, busy = queue.Queue(), threading.Event()

    def read():
        for line in stream:
            lines.put(line)
        if busy.is_set() or not lines.empty():
            os._exit(1)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        line = lines.get()
        if line is None:
            return
        busy.set()
        yield line
        busy.clear()


def peak_memory(status="/proc/self/status"):
    """The most memory that this process has had in its life, bytes; None where none can tell."""
    try:
        with open(status) as file:
            (line,) = (line for line in file if line.startswith("VmHWM:"))
    except (OSError, ValueError):
        return None
    return 1024 * int(line.split()[1])


def softmax_loss(scores, label):
    """The sum over pixels that are not void of -log softmax(scores)[label].

    scores: 1 x C x H x W; label: 1 x 1 x H x W, class numbers. Row by row, in float64.
    """
    import numpy as np

    total = 0.0
    for row, truth in zip(scores[0].transpose(1, 2, 0), label[0, 0].astype(int)):
        known = truth != VOID
        row, truth = row[known].astype(np.float64), truth[known]
        row -= row.max(axis=1, keepdims=True)
        total += np.log(np.exp(row).sum(axis=1)).sum() - row[np.arange(len(truth)), truth].sum()
    return float(total)


def answer(side, job):
    """What the side has to say to a command."""
    import numpy as np

    name = job.pop("do")
    if name == "memory":
        return {"peak": peak_memory(), **side.memory()}
    if name == "loss":
        with np.load(job["image"]) as arrays:
            return {"loss": softmax_loss(side.scores(), arrays["label"])}
    return getattr(side, name)(**job)


def main(argv):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints to stdout must not mix with the answers
    side, threads, gpu = argv[0], int(argv[1]), int(argv[2]) if len(argv) > 2 else None
    made = None
    for line in commands(sys.stdin):
        try:
            if made is None:
                made = make(side, threads, gpu)
            result = answer(made, json.loads(line))
        except Exception as error:
            if os.environ.get("TRACEBACK", "") not in ("", "0"):
                raise
            result = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
        print(json.dumps(result), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
