"""What a worker of the stage `tables` does for the engine: one configuration after the other.

See tools/benchmark/worker for the commands.
"""

from __future__ import annotations

import caffe
from caffe import settings
from tools.benchmark import nets as bench_nets
from tools.common.cli import use_device
from tools.gpu import torch_facts
from tools.gpu.clock import WARM, repeated
from tools.gpu.engine_nets import EngineNets

WARM_MEASURED = 8  # passes, where the first ones say whether folding pays


def planned(case):
    """Bytes that a GPU is to allocate, as tools/plan.py plans: {inference, training, test: training
    with the test net}."""
    train, val, deploy = (bench_nets.net_of(case, name) for name in ("train", "val", "deploy"))
    solver = bench_nets.solver_of(case, "train.prototxt")
    for field in ("net", "train_net", "test_net"):
        solver.ClearField(field)
    rehearse = caffe.engine.rehearse
    return {
        "inference": rehearse(deploy, gpu=True).peak,
        "training": rehearse(train, solver, gpu=True).peak,
        "test": rehearse(train, solver, val, gpu=True).peak,
    }


class EngineRows:
    """The engine as solve.py and score.py run it, on CUDA device `gpu`, or None: the CPU."""

    def __init__(self, gpu, threads):
        self.gpu = gpu
        use_device(gpu)
        caffe.engine.set_lean(True)

    def about(self):
        """{measures_folding: whether the engine can choose folding by measurement; rounds: whether
        the GPU multiplies in TF32 and bfloat16 (compute capability 8.0 on)}."""
        caffe.engine.set_folding("measured")
        found = settings.folding() == "measured"
        caffe.engine.set_folding(True)
        try:
            caffe.engine.set_precision("bfloat16")
        except caffe.engine.InputError:
            rounds = False
        else:
            rounds = True
        caffe.engine.set_precision("float32")
        return {"measures_folding": found, "rounds": rounds}

    def prepare(self, net, size, shrink, folder):
        """Make ready a net of nets.NETS; {flop, flop_of_step, fc6: its shape, dilation and
        number of weights in words, planned: see `planned`}."""
        case = bench_nets.Case(net, tuple(size), shrink=shrink)
        self.nets = EngineNets(case, folder)
        return {
            "flop": bench_nets.flop(case),
            "flop_of_step": bench_nets.flop_of_step(case),
            "fc6": list(bench_nets.fc6(net)),
            "planned": planned(case),
        }

    def row(self, seconds, precision, folding, recompute, autotuning, test):
        """Measure one configuration, in about so many `seconds` for each kind of pass.

        Returns {forward, forward_backward, step: see clock.repeated; memory: peaks of training;
        later: those after the first passes; inference: of the net that scores; held: bytes that
        were allocated before}. With `test` a step is followed by a forward pass of the test net,
        and the other passes are left out.
        """
        caffe.engine.set_precision(precision)
        caffe.engine.set_autotuning(autotuning)
        caffe.engine.set_folding(folding)
        self.warm = WARM_MEASURED if folding == "measured" else WARM
        torch_facts.start_afresh(self.gpu)
        found = {"held": torch_facts.peaks(self.gpu)["allocated"] or 0}
        if not test:
            found.update(self._scoring(seconds))
            torch_facts.start_afresh(self.gpu)
        found.update(self._training(seconds, recompute, test))
        torch_facts.start_afresh(self.gpu)
        return found

    def _scoring(self, seconds):
        net = self.nets.deploy()

        def forward():
            self.nets.feed(net)
            net.forward()

        times = self._repeated(forward, seconds)
        return {"forward": times, "inference": torch_facts.peaks(self.gpu)}

    def _training(self, seconds, recompute, test):
        solver = self.nets.solver(test, recompute)
        for net in solver.test_nets:
            caffe.engine.keep(net, "score")

        def step():
            solver.step(1)
            for net in solver.test_nets:
                solver.share_weights(net)
                self.nets.feed(net)
                net.forward()

        # A training waits for its losses at the end of `step`, not in each iteration.
        in_a_row = None if test else solver.step
        found = {"step": self._repeated(step, seconds, in_a_row)}
        found["memory"] = torch_facts.peaks(self.gpu)
        torch_facts.reset_peaks(self.gpu)
        step()
        caffe.engine.synchronize()
        found["later"] = torch_facts.peaks(self.gpu)
        found["loss"] = float(solver.net.blobs["loss"].data)
        if not test:

            def forward_backward():
                self.nets.feed(solver.net)
                solver.net.clear_param_diffs()
                solver.net.forward()
                solver.net.backward()

            found["forward_backward"] = self._repeated(forward_backward, seconds)
        return found

    def _repeated(self, run, seconds, in_a_row=None):
        return repeated(run, caffe.engine.synchronize, seconds, in_a_row, self.warm)
