"""`time`: how long each layer's forward and backward pass take."""

from __future__ import annotations

from ..compute.timer import Timer
from ..core.layer import TEST, TRAIN
from ..errors import InputError
from ..log import log, shown
from ..net import Net
from .devices import WHERE, gpus, use_first
from .files import check_files

FLAGS = ("model", "iterations", "gpu", "phase", "level", "stage")


def _measured(run, *args) -> float:
    timer = Timer()
    timer.start()
    run(*args)
    return timer.ms


def main(flags) -> None:
    model = flags.need("model", "the net to measure")
    check_files(flags, "model")
    use_first(gpus(flags.gpu))
    phase = TEST if flags.phase == "TEST" else TRAIN
    net = Net(model, phase, level=flags.level, stages=flags.stages)
    layers = range(len(net.layers))
    if not layers:
        raise InputError(
            f"{model}: no layer of this net is there in phase {flags.phase or 'TRAIN'}"
        )
    log("Performing Forward", where=WHERE)
    log(f"Initial loss: {shown(net._forward(0, layers[-1]))}", where=WHERE)
    log("Performing Backward", where=WHERE)
    net._backward(layers[-1], 0)
    log("*** Benchmark begins ***", where=WHERE)
    log(f"Testing for {flags.iterations} iterations.", where=WHERE)
    forward, backward = [0.0 for _ in layers], [0.0 for _ in layers]
    total = Timer()
    total.start()
    for i in range(flags.iterations):
        before = sum(forward) + sum(backward)
        for j in layers:
            forward[j] += _measured(net._forward, j, j)
        for j in reversed(layers):
            backward[j] += _measured(net._backward, j, j)
        spent = sum(forward) + sum(backward) - before
        log(f"Iteration: {i + 1} forward-backward time: {spent:.6g} ms.", where=WHERE)
    total.stop()
    n = flags.iterations
    log("Average time per layer: ", where=WHERE)
    for j, name in enumerate(net._layer_names):
        log(f"{name:>10}\tforward: {forward[j] / n:.6g} ms.", where=WHERE)
        log(f"{name:>10}\tbackward: {backward[j] / n:.6g} ms.", where=WHERE)
    log(f"Average Forward pass: {sum(forward) / n:.6g} ms.", where=WHERE)
    log(f"Average Backward pass: {sum(backward) / n:.6g} ms.", where=WHERE)
    log(f"Average Forward-Backward: {total.ms / n:.6g} ms.", where=WHERE)
    log(f"Total Time: {total.ms:.6g} ms.", where=WHERE)
    log("*** Benchmark ends ***", where=WHERE)
