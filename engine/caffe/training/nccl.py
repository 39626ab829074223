"""Several solvers, one a process, that train one net together: pycaffe's `caffe.NCCL`.

    caffe.set_solver_count(n)          # in each of n processes
    caffe.set_solver_rank(rank)        # its own, from 0
    solver = caffe.get_solver("solver.prototxt")
    nccl = caffe.NCCL(solver, uid)     # uid: caffe.NCCL.new_uid(), made once, given to all
    nccl.bcast()                       # begin with rank 0's parameters and its order of the data
    solver.add_callback(nccl)          # the gradients' mean over all, before each update
    solver.net.after_backward(nccl)    # if wanted: layer by layer, while backward goes on
    solver.step(solver.param.max_iter)

It is torch.distributed's NCCL on GPUs and Gloo on the CPU. Each process trains on batches of the
size that the net says, so n of them on n times as many images. A single process (solver_count 1)
has nobody to talk to, and all of this does nothing. Without a `uid`, the processes find each other
by the variables MASTER_ADDR and MASTER_PORT, as torchrun sets them, on any number of machines.
"""

from __future__ import annotations

import atexit
import json
import os
import tempfile
import uuid
from datetime import timedelta

import torch

from ..compute import device as _device
from ..errors import Error, InputError
from ..log import ERROR, log
from ..ranks import solver_count, solver_rank
from .snapshots import layer_states, restore_layers

JOINING = timedelta(minutes=30)
"""How long a process waits for the others to be there."""
PATIENCE = timedelta(days=7)
"""How long it waits for another's gradients: the first solver tests and writes snapshots in
between, which may take hours. Of a process that fails, whoever started them hears at once; one
that stops by itself leaves the others waiting, so all have to stop at the same iteration."""

_groups: dict = {}  # for the gradients, once they have joined


def has_nccl() -> bool:
    """Whether this PyTorch can train on several GPUs."""
    from torch import distributed

    return distributed.is_available() and distributed.is_nccl_available()


def _join(uid) -> None:
    """Enter the group of all solvers, which waits until all are there."""
    from torch import distributed

    count, rank = solver_count(), solver_rank()
    if not distributed.is_available():
        raise InputError("this PyTorch was built without torch.distributed: only one solver")
    if rank >= count:
        raise InputError(f"solver rank {rank} of {count} solvers; ranks count from 0")
    if not distributed.is_initialized():
        on_gpu = _device.current().type == "cuda"
        if uid is None and "MASTER_ADDR" not in os.environ:
            raise InputError("NCCL(solver, uid): give all solvers one uid, NCCL.new_uid()")
        distributed.init_process_group(
            "nccl" if on_gpu else "gloo",
            init_method="env://" if uid is None else str(uid),
            world_size=count,
            rank=rank,
            timeout=JOINING,
        )
        atexit.register(_leave)
    if distributed.get_world_size() != count:
        raise InputError(
            f"{count} solvers in a group of {distributed.get_world_size()} processes; "
            "call caffe.set_solver_count first"
        )
    if "gradients" not in _groups:
        _groups["gradients"] = distributed.new_group(timeout=PATIENCE)


def _all(operation, *args, **more):
    """A collective operation of torch.distributed among all solvers."""
    try:
        return operation(*args, group=_groups["gradients"], **more)
    except RuntimeError as error:
        raise _gone(error) from None


class Gone(Error):
    """Another solver has ended, or cannot be reached."""


def _gone(error: RuntimeError) -> Gone:
    reason = " ".join(str(error).split())
    return Gone(f"solver {solver_rank()}: another solver is gone, or cannot be reached: {reason}")


def _from_first(content: bytes) -> bytes:
    """Rank 0's `content`, in all processes."""
    from torch import distributed

    where = _device.current()
    size = torch.tensor([len(content)], device=where)
    _all(distributed.broadcast, size, src=0)
    sent = torch.zeros(int(size), dtype=torch.uint8)
    if not solver_rank():
        sent = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    sent = sent.to(where)
    _all(distributed.broadcast, sent, src=0)
    return sent.cpu().numpy().tobytes()


def _leave() -> None:
    from torch import distributed

    if distributed.is_initialized():
        _groups.clear()
        distributed.destroy_process_group()


class NCCL:
    """The tie between this process's solver and the others'. See the module's head."""

    def __init__(self, solver, uid=None):
        self._solver = solver
        self._pending: dict[int, tuple] = {}  # id of a diff's blob -> (its diff, the reduction)
        self._alone = solver_count() == 1
        if not self._alone:
            _join(uid)
        learnable, layers = solver.net._learnable, solver.net.layers
        shared = sum(len(layer.blobs) for layer in layers) != len(learnable.blobs)
        # A gradient is complete after its layer's backward only if no other pass adds to it.
        self._by_layer = solver.param.layer_wise_reduce and not shared
        self._by_layer &= solver.param.iter_size == 1

    @staticmethod
    def new_uid() -> str:
        """A name under which the processes of one machine find each other, for one training."""
        place = os.path.join(tempfile.gettempdir(), f"caffe-nccl-{uuid.uuid4().hex}")
        return f"file://{place}"

    def bcast(self) -> None:
        """Take rank 0's parameters, and the states of its data layers: all read one order of the
        items, each its own of them. (A Python layer's `state()` has to tell the place of all.)"""
        if self._alone:
            return
        from torch import distributed

        net = self._solver.net
        for blob in net._learnable.blobs:
            _all(distributed.broadcast, blob.write(), src=0)
        states = layer_states(net, lambda layer: not layer.layer_param.bottom)
        found = json.loads(_from_first(json.dumps(states).encode("utf-8")))
        for name, state in found.items() if solver_rank() else ():
            try:
                restore_layers(net, {name: state})
            except Exception as error:  # data of its own: it goes on in them by itself
                log(f"solver {solver_rank()}: layer '{name}' keeps its place: {error}", ERROR)

    def _reduce(self, blob) -> None:
        if id(blob) in self._pending:
            return
        from torch import distributed

        diff = blob.write_diff()
        self._pending[id(blob)] = diff, _all(distributed.all_reduce, diff, async_op=True)

    def on_start(self) -> None:
        """Before an iteration."""

    def on_gradients_ready(self) -> None:
        """Make each gradient the mean of all solvers' gradients."""
        if self._alone:
            return
        for blob in self._solver.net._learnable.blobs:
            self._reduce(blob)
        for diff, reduction in self._pending.values():
            try:
                reduction.wait()
            except RuntimeError as error:
                raise _gone(error) from None
            diff.mul_(1 / solver_count())
        self._pending.clear()

    def __call__(self, layer: int | None = None) -> None:
        """What `net.after_backward(nccl)` calls with a layer's number, and
        `solver.add_callback(nccl)` without, when an iteration starts."""
        if layer is None:
            self._complete_callback()
        elif self._by_layer and not self._alone:
            for blob in self._solver.net.layers[layer].blobs:
                self._reduce(blob)

    def _complete_callback(self) -> None:
        """`add_callback` was given this object alone: let it get both calls."""
        callbacks = self._solver._callbacks
        for i, (on_start, on_gradients_ready) in enumerate(callbacks):
            if on_start is self and on_gradients_ready is None:
                callbacks[i] = self.on_start, self.on_gradients_ready
        self.on_start()
