"""What a worker of the stage `tables` does for the plain PyTorch module, and for products.

See tools/benchmark/worker for the commands. It must not import `caffe`: see
tools/benchmark/torch_side.
"""

from __future__ import annotations

from tools.gpu import torch_facts, torch_module
from tools.gpu.clock import repeated


class ModuleRows:
    """The module of tools/benchmark/torch_side on CUDA device `gpu`, or None: the CPU."""

    def __init__(self, gpu, threads):
        self.gpu = gpu
        torch_module.set_threads(threads)

    def about(self):
        return {}

    def prepare(self, net, size, shrink, folder):
        self.net, self.size, self.shrink = net, tuple(size), shrink
        return {}

    def product(self, seconds, precision, size):
        """{rate: FLOP/s of the product of two square matrices of `size`, size}."""
        product = torch_module.Product(self.gpu, precision, size)
        times = repeated(product.run, self._wait, seconds)
        torch_facts.start_afresh(self.gpu)
        return {"rate": 2 * size**3 / times["median"], "times": times}

    def row(self, seconds, precision, autotuning, test, folding=None, recompute=None):
        """As EngineRows.row; folding and recomputation are the engine's alone."""
        torch_facts.start_afresh(self.gpu)
        found = {"held": torch_facts.peaks(self.gpu)["allocated"] or 0}
        given = (self.gpu, self.net, self.size, self.shrink, precision, autotuning)
        found.update(self._measure(torch_module.Passes(*given), seconds, test))
        torch_facts.start_afresh(self.gpu)
        return found

    def _measure(self, run, seconds, test):
        found = {}
        if not test:
            found["forward"] = repeated(run.forward, self._wait, seconds)
            found["inference"] = torch_facts.peaks(self.gpu)
            torch_facts.reset_peaks(self.gpu)

        def step():
            run.step()
            if test:
                run.forward()

        found["step"] = repeated(step, self._wait, seconds)
        found["memory"] = torch_facts.peaks(self.gpu)
        torch_facts.reset_peaks(self.gpu)
        step()
        self._wait()
        found["later"] = torch_facts.peaks(self.gpu)
        found["loss"] = run.last_loss()
        if not test:
            found["forward_backward"] = repeated(run.forward_backward, self._wait, seconds)
        return found

    def _wait(self):
        torch_facts.synchronize(self.gpu)
