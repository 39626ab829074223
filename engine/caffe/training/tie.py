"""One rank's solver, tied to the others': what it takes from them, and when."""

from __future__ import annotations

import base64
import json
import threading
import zlib

from ..compute import rng
from ..log import WARNING, log
from .reduction import Reduction, settle_on
from .snapshots import layer_states, restore_layers


class Tie:
    """What a solver asks for where it is one of several. `ranks`: its `together.Ranks`."""

    def __init__(self, ranks, solver, gradients: str):
        self._ranks, self._solver = ranks, solver
        self._reduction = Reduction(solver.net, ranks.count, ranks.start_sum, gradients)
        solver._tie = self

    def share(self) -> None:
        """Take rank 0's parameters, history, iteration and place in the data."""
        solver, net = self._solver, self._solver.net
        if self._ranks.first:
            _warn_of_data(net)
        begun = {
            "iter": solver.iter, "step": solver._current_step, "layers": layer_states(net),
            "masks": self._seed(),
            "history": [not blob.data_is_zero for blob in solver._history],
        }  # fmt: skip
        begun = json.loads(self._ranks.first_text(json.dumps(begun)))
        for blob in net._learnable.blobs:
            self._ranks.send(blob.write())
        for blob, used in zip(solver._history, begun["history"]):
            if used:
                self._ranks.send(blob.write())
        self._masks = begun["masks"]
        if self._ranks.first:
            return
        solver.iter, solver._current_step = begun["iter"], begun["step"]
        restore_layers(net, begun["layers"])

    def _seed(self) -> int:
        """What the other ranks' dropout comes from: the same in a training that is resumed."""
        param = self._solver.param
        return param.random_seed if param.random_seed >= 0 else zlib.crc32(self._solver._run.root())

    def stops(self) -> bool:
        """Before an iteration: whether all ranks stop here."""
        if self._ranks.agreed_stop():
            return True
        if not self._ranks.first:
            # Rank 0's generator goes on as in a training of its own; that of another rank is made
            # of the iteration, so that a snapshot need not hold it.
            rng.generator()  # made, so that it is seeded
            rng.reseed(_mixed(self._masks, self._solver.iter, self._ranks.rank))
        return False

    def backward(self, update=None) -> None:
        """The net's backward pass, after which its gradients are the mean of all ranks'; `update`
        as of `Passes.backward`."""
        solver, net = self._solver, self._solver.net
        solver._guard = settle_on(solver._guard, self._ranks.start_sum)
        self._reduction.begin(update)
        net._passes.backward(len(net.layers) - 1, 0, self._reduction.ready)
        self._reduction.finish()

    def last_snapshot(self, keep: bool, seconds: float) -> str:
        """Write the last whole iteration's, from another thread than the one that trains, which
        goes on no more; what came of it, for the end of a line."""
        if not keep:
            return ""
        solver, said = self._solver, []

        def write():
            try:
                said.append(_snapshot(solver))
            except Exception as error:
                said.append(f"; no snapshot was written: {error}")

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        thread.join(seconds)
        return said[0] if said else f"; no snapshot could be written within {seconds:g} s"


def _snapshot(solver) -> str:
    solver.freeze()
    if solver.snapshot_at != solver.iter:
        if not solver.iter:
            return ""
        solver.last_snapshot()
    return f"; resume with --resume auto (iteration {solver.iter} is in a snapshot)"


def _mixed(*numbers: int) -> int:
    digest = zlib.crc32(repr(numbers).encode())
    return digest << 30 ^ zlib.crc32(base64.b64encode(repr(numbers[::-1]).encode()))


def _warn_of_data(net) -> None:
    """A data layer that does not tell its place may give every rank the same items."""
    for name, layer, inside in zip(net._layer_names, net.layers, net._wiring.layers):
        reads = not inside.layer_param.bottom and inside.layer_param.top
        if reads and inside.type == "Python" and not hasattr(layer, "restore_state"):
            log(
                f"layer '{name}' does not tell its place in the data (state, restore_state): see "
                "that it reads other items in each process, by caffe.solver_rank()",
                WARNING,
            )
