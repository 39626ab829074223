"""How much memory passes and training would take: the engine's own passes are run without numbers,
and what they ask for is counted.

This takes seconds, and next to no memory: neither pictures nor weights nor a GPU are needed. What
`caffe.engine.plan` leaves out is counted too: parameters and their history, what layers keep, and
what a convolution takes while it runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .. import log, settings
from ..compute import device
from ..compute.imagined import Ledger, Place, imagined
from ..core.layer import TEST, TRAIN
from ..errors import InputError
from ..net import Net
from ..proto import caffe_pb2
from ..run.releases import recompute
from ..run.remaking import Remaking
from .solver import Solver
from .solver_updates import SOLVERS

_ROUNDS = 2
"""Iterations that are counted: history and what layers keep is there from the first one on."""
_TRIES = 4
"""How often blobs are chosen for a limit, each time with what the last choice took."""
_CODE = 84 * 10**6
"""Bytes that a process takes besides: of the library, read when it first computes, and of its heap.
Fitted to what docs/planning.md has measured."""
_TEST_INTERVAL = 2**31 - 1
_KEPT_OF_SOLVER = (
    "type", "momentum", "momentum2", "delta", "rms_decay", "weight_decay", "regularization_type",
    "iter_size", "clip_gradients", "snapshot_diff", "base_lr",
)  # fmt: skip


@dataclass(frozen=True)
class Rehearsal:
    """What passes would take. All in bytes."""

    peak: int
    """The most that is in use at once."""
    taken: int
    """What counts: on a GPU the peak, on the CPU what the process has more in the end. There the
    heap has holes, the library's code comes in, and some of what is in use is never touched."""
    layer: str
    """The layer at whose pass that is, of the test net with " (test)" behind its name."""
    way: str
    """"forward" or "backward"."""
    kept: int
    """What stays from iteration to iteration: parameters, history."""
    by_place: dict[Place, int]
    """The most at each layer's pass: (net's number, layer's number, way) -> bytes."""
    remade: tuple[str, ...] = ()
    """The blobs that are made again in the backward pass."""


def rehearse(
    net,
    solver=None,
    test=None,
    remade: Iterable[str] = (),
    gpu: bool | None = None,
) -> Rehearsal:
    """The memory that a lean net takes.

    net     a NetParameter whose data come from layers that need no files (Input, DummyData)
    solver  a SolverParameter: training by its rules; None: forward passes in TEST
    test    a NetParameter: a test net beside the training
    remade  blobs that are made again, as `recompute` has them
    gpu     whether a GPU computes; None: as the mode is

    Of a GPU what is allocated is counted without cuDNN's workspace and the context. InputError for
    nets and solvers that cannot be built.
    """
    with _stage(gpu) as ledger:
        if solver is None:
            return _run_forward(ledger, _forward_net(net))
        made = _solver(net, solver, test)
        return _train(ledger, made, tuple(remade))


def choose_remade(net, solver, test=None, limit: int | None = None, gpu: bool | None = None):
    """(Rehearsal without, Rehearsal with) blobs made again in the backward pass, those that cost
    the least arithmetic, so that the training takes at most `limit` bytes; None: as few as may be.
    Where nothing does, the second is the smallest that was found. The limit is of `taken`.

    The other arguments are those of `rehearse`.
    """
    with _stage(gpu) as ledger:
        before = _train(ledger, _solver(net, solver, test), ())
        if limit is not None and before.taken <= limit:
            return before, before
    best = before
    remaking = None
    wanted = None if limit is None else limit - (before.taken - before.peak)
    for _ in range(_TRIES):
        with _stage(gpu) as ledger:
            made = _solver(net, solver, test)
            if remaking is None:
                remaking = Remaking(made.net, before.by_place)
            names = remaking.choose(made.net, wanted)
            found = _train(ledger, made, names)
        if found.taken < best.taken:
            best = found
        if limit is None or wanted is None or not names or found.taken <= limit:
            break
        wanted -= found.taken - limit  # it takes more than was reckoned
    return before, best


@contextlib.contextmanager
def _stage(gpu: bool | None) -> Iterator[Ledger]:
    lean = settings.lean()
    on_gpu = device.current().type == "cuda" if gpu is None else gpu
    with log.silent(), imagined(on_gpu) as ledger:
        settings.set_lean(True)
        try:
            yield ledger
        finally:
            settings.set_lean(lean)


def _clear_fillers(message) -> None:
    """Let all parameters be zeros: to draw numbers for them would take the memory of a CPU."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.name == "FillerParameter":
            message.ClearField(field.name)
        else:
            for one in value if hasattr(value, "append") else [value]:
                _clear_fillers(one)


def _ready(given) -> caffe_pb2.NetParameter:
    param = caffe_pb2.NetParameter()
    param.CopyFrom(given)
    param.ClearField("debug_info")
    for layer in param.layer:
        _clear_fillers(layer)
    return param


def _forward_net(given) -> Net:
    param = _ready(given)
    param.state.phase = TEST
    return Net.from_param(param)


def _solver(net, given, test) -> Solver:
    param = caffe_pb2.SolverParameter()
    for name in _KEPT_OF_SOLVER:
        if given.HasField(name):
            setattr(param, name, getattr(given, name))
    param.lr_policy, param.display = "fixed", 0
    param.train_net_param.CopyFrom(_ready(net))
    if test is not None:
        param.test_net_param.add().CopyFrom(_ready(test))
        param.test_iter.append(1)
        param.test_interval = _TEST_INTERVAL
        param.test_initialization = False
    if param.type not in SOLVERS:
        raise InputError(f"solver type '{param.type}' is not one of {', '.join(SOLVERS)}")
    return SOLVERS[param.type].from_param(param)


def _follow(ledger: Ledger, number: int, net: Net) -> None:
    """Have `ledger` know at which layer's pass of net `number` each block is taken."""

    def at(way):
        def follow(k):
            ledger.place = number, k, way

        return follow

    net.before_forward(at("forward"))
    if net.phase == TRAIN:
        net.before_backward(at("backward"))


def _forward(net: Net) -> None:
    net._passes.forward(0, len(net.layers) - 1)


def _run_forward(ledger: Ledger, net: Net) -> Rehearsal:
    _follow(ledger, 0, net)
    for _ in range(_ROUNDS):
        _forward(net)
    return _found(ledger, [net], ())


def _train(ledger: Ledger, solver: Solver, remade: tuple[str, ...]) -> Rehearsal:
    net, tests = solver.net, list(solver.test_nets)
    if remade:
        recompute(net, *remade)
    for number, one in enumerate([net, *tests]):
        _follow(ledger, number, one)
    for _ in range(_ROUNDS):
        for one in tests:
            one.share_with(net)
            _forward(one)
        net.clear_param_diffs()
        solver._iterate()
    return _found(ledger, [net, *tests], remade)


def _found(ledger: Ledger, nets: list[Net], remade: tuple[str, ...]) -> Rehearsal:
    number, k, way = max(ledger.by_place, key=lambda place: ledger.by_place[place])
    name = nets[number]._layer_names[k] if k >= 0 else "before the first pass"
    layer = name + (" (test)" if number else "")
    by_place = dict(ledger.by_place)
    taken = ledger.peak if ledger.on_gpu else ledger.heap.resident + _CODE
    return Rehearsal(ledger.peak, taken, layer, way, ledger.live, by_place, remade)
