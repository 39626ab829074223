"""The nets of a solver, as SolverParameter's fields describe them."""

from __future__ import annotations

from ..core.layer import TEST, TRAIN
from ..errors import InputError
from ..log import log
from ..net import Net
from ..proto import caffe_pb2, text

TRAINING_FIELDS = ("net", "net_param", "train_net", "train_net_param")


def _make(source, extra, phase: int, where: str) -> Net:
    """A net of a file's name or of a NetParameter that stands in the solver `where`.

    Its state: the phase, over it what the net says itself, over that `extra`.
    """
    param = caffe_pb2.NetParameter()
    if isinstance(source, str):
        param, where = text.read_net(source), source
    else:
        param.CopyFrom(source)
    state = caffe_pb2.NetState(phase=phase)
    state.MergeFrom(param.state)
    if extra is not None:
        state.MergeFrom(extra)
    param.state.CopyFrom(state)
    return Net.from_param(param, where)


def training_net(param, where: str) -> Net:
    """The net to be trained. Raises InputError where not exactly one is given."""
    given = [field for field in TRAINING_FIELDS if param.HasField(field)]
    if len(given) != 1:
        raise InputError(
            f"give the training net in one of the fields {', '.join(TRAINING_FIELDS)}; "
            f"given: {', '.join(given) or 'none'}"
        )
    state = param.train_state if param.HasField("train_state") else None
    return _make(getattr(param, given[0]), state, TRAIN, where)


def test_nets(param, where: str) -> list[Net]:
    """One net for each test_iter: test_net_param's, test_net's, then the training net's file as
    often as entries are left."""
    sources = [*param.test_net_param, *param.test_net]
    wanted = len(param.test_iter)
    if param.HasField("net_param") or param.HasField("net"):
        common = param.net_param if param.HasField("net_param") else param.net
        sources += [common] * (wanted - len(sources))
    if len(sources) != wanted:
        raise InputError(
            f"it has {wanted} test_iter and {len(sources)} test nets; each net needs one test_iter"
        )
    if param.test_state and len(param.test_state) != len(sources):
        raise InputError(
            f"it has {len(param.test_state)} test_state and {len(sources)} test nets; give one to "
            "each net, or none"
        )
    if sources and param.test_interval <= 0:
        raise InputError("test_interval must be above 0 where there are test nets")
    states = list(param.test_state) or [None] * len(sources)
    return [_make(source, state, TEST, where) for source, state in zip(sources, states)]


def load_weights(param, nets: list[Net]) -> None:
    """Copy the files that `weights` names (each entry may list several, after commas) into the
    nets, as BVLC Caffe does: the test nets hold them too before the first test."""
    for net in nets:
        for entry in param.weights:
            for name in entry.split(","):
                log(f"Finetuning from {name.strip()}")
                net.copy_from(name.strip())
