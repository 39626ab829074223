"""What the bench's worker does for the sides that are a `caffe`: the engine's, or BVLC Caffe's.

The engine runs as solve.py and score.py run it. See worker.py for the commands. Python >= 3.9,
NumPy >= 1.19.
"""

from __future__ import annotations

import collections
import time

import numpy as np

import caffe
from tools.common.cli import use_device

ENGINE = getattr(caffe, "engine", None)


def setting(name, value):
    """Call the engine's setting `name` where it has it; whether it does."""
    found = getattr(ENGINE, name, None)
    if found is not None:
        found(value)
    return found is not None


def _forward_owner():
    """The class through whose `forward` every forward pass goes."""
    if not hasattr(caffe, "engine"):
        return caffe.Net
    from caffe.run.passes import Passes

    return Passes


class CaffeSide:
    """A side of the bench; one worker has one."""

    def __init__(self, gpu, folded=True):
        self.lean = setting("set_lean", True)
        self.folding = setting("set_folding", folded) and folded
        self.gpu = gpu
        use_device(gpu)
        self.seconds = collections.Counter()
        self.running = set()

    def about(self):
        about = {"Caffe": caffe.__version__, "NumPy": np.__version__}
        return about if ENGINE is None else {**about, "lean": self.lean, "folding": self.folding}

    def open(self, job):
        self.mode, self.weights = job["mode"], job["weights"]
        if job["image"] is not None:
            with np.load(job["image"]) as arrays:
                self.image = {name: arrays[name] for name in arrays.files}
        if self.mode == "forward":
            self.net = caffe.Net(job["deploy"], caffe.TEST)
        else:
            self.solver = caffe.get_solver(job["solver_file"])
            self.net = self.solver.net
        self.net.copy_from(self.weights)
        if self.mode == "both" and hasattr(ENGINE, "keep"):
            ENGINE.keep(self.solver.test_nets[0], "score")
        return {}

    def run(self):
        """One pass of the mode: seconds, and the loss where there is one."""
        began = time.perf_counter()
        loss = None
        if self.mode != "forward":
            self._feed(self.net)
            self.solver.step(1)
            loss = float(self.net.blobs["loss"].data)
        else:
            self._forward(self.net)
        if self.mode == "both":
            test = self.solver.test_nets[0]
            test.share_with(self.net)
            self._forward(test)
        self._wait()
        return {"seconds": time.perf_counter() - began, "loss": loss}

    def _wait(self):
        if self.gpu is not None:
            ENGINE.synchronize()

    def _feed(self, net):
        for name in net.inputs:
            net.blobs[name].data[...] = self.image[name]

    def _forward(self, net):
        self._feed(net)
        net.forward()
        self.score = net.blobs["score"].data

    def scores(self):
        return self.score

    def load(self):
        began = time.perf_counter()
        self.net.copy_from(self.weights)
        self._wait()
        return {"seconds": time.perf_counter() - began}

    def memory(self):
        if self.gpu is None:
            return {}
        from tools.benchmark.torch_side import gpu_memory

        return gpu_memory(self.gpu)

    def iterate(self, net, count):
        """`count` forward and backward passes of a small net, once it is warm: seconds for one."""
        setting("set_lean", False)  # as users' scripts have it: they read any blob
        made = caffe.Net(net, caffe.TRAIN)
        setting("set_lean", True)
        made.blobs["data"].data[...] = 1
        for warm in (True, False):
            began = time.perf_counter()
            for _ in range(min(count, 20) if warm else count):
                made.forward()
                made.backward()
            self._wait()
        return {"seconds": (time.perf_counter() - began) / count}

    def save_weights(self, net, case, caffemodel, tensors):
        """Write nets.weights_of a Case (its values) for all sides."""
        from safetensors.numpy import save_file

        from tools.benchmark import nets as bench_nets

        made, state = caffe.Net(net, caffe.TRAIN), {}
        for name, arrays in bench_nets.weights_of(bench_nets.Case(*case)).items():
            for what, blob, array in zip(("weight", "bias"), made.params[name], arrays):
                blob.data[...] = array
                state[f"{name}.{what}"] = array
        made.save(caffemodel)
        save_file(state, tensors)
        return {"bytes": sum(array.nbytes for array in state.values())}

    def open_score(self, net, weights):
        """Make ready score.py on a val net, with the clock on what it calls."""
        import segmentation.layer as segmentation

        from tools import score
        from tools.common.nets import read_net

        device = ["--cpu"] if self.gpu is None else ["--gpu", str(self.gpu)]
        self.score_main = lambda: score.main(["--net", net, "--weights", weights, *device])
        self._clock(score, "score_net", "scoring")
        self._clock(_forward_owner(), "forward", "forwards")
        for name in ("reshape", "forward"):
            self._clock(segmentation.SegmentationLayer, name, "reading")
        return {"images": len(score.ids_of(read_net(net), net))}

    def _clock(self, owner, name, total):
        """Add what calls of the function `name` of `owner` take to self.seconds[total]."""
        method = getattr(owner, name)

        def clocked(*args, **kwargs):
            if total in self.running:  # one clocked method calls another
                return method(*args, **kwargs)
            self.running.add(total)
            began = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds[total] += time.perf_counter() - began
                self.running.discard(total)

        setattr(owner, name, clocked)

    def score_all(self):
        """score.py, once: seconds of scoring all images (its start not counted), of forward
        passes and, in them, of the data layer."""
        self.seconds.clear()
        self.score_main()
        scoring, forwards, reading = (self.seconds[k] for k in ("scoring", "forwards", "reading"))
        return {"seconds": scoring, "forwards": forwards, "reading": reading}
