"""Snapshots of a solver: caffemodel, solverstate, and a side file for exact resumption.

BVLC Caffe's solverstate has no place for the position of the data layers, the states that recurrent
layers carry on, and those of the random generators. They go into
`<prefix>_iter_<N>.position.json`, which BVLC Caffe ignores. The solverstate is written last: where
it is, the other files are complete.

Of several solvers the first one writes. All go on with its layers' states; the others' random
generators (dropout, fillers) are seeded anew from its own, for each another way.
"""

from __future__ import annotations

import base64
import json
import os
import zlib

import numpy as np
import torch

from ..compute import rng
from ..core.weights import read_weights
from ..errors import Error, InputError
from ..log import WARNING, log
from ..proto import caffe_pb2, hdf5, not_utf8, wire
from ..proto.files import atomic_write, together
from ..proto.hdf5_checks import is_hdf5
from ..ranks import solver_rank
from . import places, runs

_DAMAGED = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError,
)  # fmt: skip


def _paths(solver, prefix: str, iteration: int) -> tuple[str, str, bool]:
    """Where the caffemodel and the solverstate of an iteration go, and whether as HDF5."""
    stem = f"{prefix}_iter_{iteration}"
    as_hdf5 = solver.param.snapshot_format == caffe_pb2.SolverParameter.HDF5
    ending = ".h5" if as_hdf5 else ""
    return f"{stem}.caffemodel{ending}", f"{stem}.solverstate{ending}", as_hdf5


def reserve(solver) -> None:
    """Make `solver`'s training the one that writes at its snapshot_prefix, and see that its last
    snapshot could be written there now. InputError where another process trains there, and where
    there is no room."""
    prefix = not_utf8.path(solver.param.snapshot_prefix)
    last = max(solver.iter, solver.param.max_iter)
    model, state, _ = _paths(solver, "", last)
    weights = 4 * sum(blob.count for layer in solver.net.layers for blob in layer.blobs)
    sizes = {
        model: weights * (2 if solver.param.snapshot_diff else 1),
        runs.position_path(state): _position_size(solver),
        state: 4 * sum(blob.count for blob in solver._history),
    }
    places.check_room(prefix, sizes)
    for iteration, path in runs.lone_weights(prefix):
        if solver.iter < iteration <= last and _writes_at(solver.param, iteration, last):
            raise InputError(runs.not_ours(path))
    runs.claim(prefix, solver._run, solver)


def _writes_at(param, iteration: int, last: int) -> bool:
    return iteration == last or bool(param.snapshot and iteration % param.snapshot == 0)


def save(solver, prefix: str | None = None) -> str:
    """Write the snapshot of `solver`'s present iteration, by default at its snapshot_prefix; return
    the solverstate's path. All files are complete or none is there, and those of an earlier
    snapshot of this iteration stay until then. NotWhole as of `require_whole`."""
    require_whole(solver)
    if prefix is None:
        prefix = solver.param.snapshot_prefix
        runs.claim(not_utf8.path(prefix), solver._run, solver)
    model, state, as_hdf5 = _paths(solver, prefix, solver.iter)
    if runs.is_lone(not_utf8.path(model)):
        raise Error(runs.not_ours(model))  # which goes elsewhere, if it is the last one
    form = "HDF5" if as_hdf5 else "binary proto"
    history = [blob.read().cpu().numpy() for blob in solver._history]
    with together():
        # First what tells of the others that they are a snapshot's.
        _write_position(solver, runs.position_path(state), history)
        log(f"Snapshotting to {form} file {model}")
        save_net = solver.net.save_hdf5 if as_hdf5 else solver.net.save
        save_net(model, diffs=solver.param.snapshot_diff)
        log(f"Snapshotting solver state to {form} file {state}")
        write = hdf5.write_solverstate_hdf5 if as_hdf5 else wire.write_solverstate
        write(state, solver.iter, model, history, solver._current_step)
    solver.snapshot_at = solver.iter
    return state


def save_elsewhere(solver, error: Error) -> None:
    """Where `error` is that the last snapshot cannot be written at the prefix: write it in another
    folder, and raise NotWritten that names it. Nothing for other errors."""
    if error.exit_code == InputError.exit_code or isinstance(error, NotWhole):
        return
    problem = str(error)
    for prefix in places.elsewhere(not_utf8.path(solver.param.snapshot_prefix)):
        try:
            state = save(solver, prefix)
        except Error as also:
            problem += f"; {also}"
            continue
        raise NotWritten(
            f"{problem}; the snapshot of iteration {solver.iter} is in {state} instead: move its "
            "three files to the others, or resume from it there"
        )
    raise NotWritten(
        f"{problem}; the snapshot of iteration {solver.iter} could not be written anywhere"
    )


class NotWritten(Error):
    """The last snapshot could not be written at its prefix."""


class NotWhole(Error):
    """There is nothing to write that a training could go on from."""


class NotFinite(NotWhole):
    """Weights are infinite or no numbers."""

    keep = False


def require_whole(solver) -> None:
    """Raise NotWhole for a solver whose iteration ended half-way, NotFinite for one whose weights
    are infinite or no numbers."""
    if solver._half_updated:
        raise NotWhole(
            f"iteration {solver.iter} ended between the updates of two parameters: there is "
            "nothing whole to write; go on from an earlier snapshot"
        )
    learnable = solver.net._learnable
    data = [blob.read() for blob in learnable.blobs]
    sums = torch.stack([tensor.sum(dtype=torch.float64) for tensor in data]) if data else None
    if sums is None or bool(sums.isfinite().all()):  # one wait for a GPU
        return
    for name, tensor in zip(learnable.names, data):
        if not bool(tensor.isfinite().all()):
            raise NotFinite(
                f"iteration {solver.iter}: the weights of {name} are not finite: no snapshot is "
                "written; go on from an earlier one, or start again, with a lower base_lr"
            )


def layer_states(net, only=lambda layer: True) -> dict:
    """What the net's layers (`only` some of them) carry from one iteration to the next, by layer
    name, for JSON: a data layer its place in the data.

    A layer, also one in Python, takes part by two methods: `state()` gives a dict for JSON,
    `restore_state(dict)` goes on there, or raises. A data layer's state is the same in all of
    several solvers: it tells where all of them are, of which each takes its own items.
    """
    return {
        name: layer.state()
        for name, layer, inside in zip(net._layer_names, net.layers, net._wiring.layers)
        if hasattr(layer, "restore_state") and hasattr(layer, "state") and only(inside)
    }


def restore_layers(net, states: dict) -> None:
    """Undo of `layer_states`; states of layers that are not there are left out."""
    for name, state in states.items():
        layer = net.layer_dict.get(name)
        if hasattr(layer, "restore_state"):
            layer.restore_state(state)


def _held_states(net) -> dict:
    """`layer_states`, in which a function gives what would have to be waited for on a GPU."""
    quick = layer_states(net, lambda inside: not hasattr(inside, "held_state"))
    layers = zip(net._layer_names, net._wiring.layers)
    slow = {name: one.held_state() for name, one in layers if hasattr(one, "held_state")}
    return {**quick, **slow}


def training_position(solver) -> dict:
    """Where `solver`'s training is: what the side file is made of, less the test nets' layers.
    Nothing waits for a GPU."""
    return {
        "iter": solver.iter,
        "layers": _held_states(solver.net),
        "generators": rng.get_state(),
        "losses": solver._losses.unread(),
    }


def test_states(solver) -> list[dict]:
    """`layer_states` of each test net."""
    return [layer_states(net) for net in solver.test_nets]


def _write_position(solver, path: str, history) -> None:
    now = solver._held if solver._held is not None else training_position(solver)
    now = {"test_layers": test_states(solver), **now}
    coded = {
        key: base64.b64encode(value).decode("ascii") for key, value in now["generators"].items()
    }
    whole = {
        **now,
        "layers": {name: s() if callable(s) else s for name, s in now["layers"].items()},
        "generators": coded,
        "losses": [float(loss) for loss in now["losses"]],
        "history_crc32": _fingerprint(history),
        "weights_crc32": _weights_fingerprint(solver.net),
        **solver._run.as_json(),
    }
    with atomic_write(path) as file:
        file.write(json.dumps(whole).encode("utf-8"))


def _position_size(solver) -> int:
    """About how many bytes the side file takes."""
    now = training_position(solver)
    whole = {
        "test_layers": test_states(solver),
        "layers": {name: s() if callable(s) else s for name, s in now["layers"].items()},
        "losses": [0.1 + 1e-16] * max(1, solver.param.average_loss),
        "weights_crc32": {
            name: [2**32] * len(layer.blobs)
            for name, layer in zip(solver.net._layer_names, solver.net.layers)
        },
        **solver._run.as_json(),
    }
    random = sum(len(base64.b64encode(value)) for value in now["generators"].values())
    return len(json.dumps(whole)) + random + 1024


def _fingerprint(history) -> int:
    """Which solverstate a side file belongs to: of the same iteration there may be several."""
    found = 0
    for values in history:
        found = zlib.crc32(np.ascontiguousarray(values, np.float32).data, found)
    return found


def _weights_fingerprint(net) -> dict[str, list[int]]:
    """Which weights a side file belongs to: a number for each blob of each layer."""
    return {
        name: [_fingerprint([blob.peek()]) for blob in layer.blobs]
        for name, layer in zip(net._layer_names, net.layers)
        if layer.blobs
    }


def restore(solver, path: str) -> None:
    """Bring `solver` to where the solverstate `path` was written.

    Raises InputError, naming the file, when it or the caffemodel is missing, broken, of another
    net or not of one snapshot; the solver and its net's layers are then as they were.
    """
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file")
    read = hdf5.read_solverstate_hdf5 if is_hdf5(path) else wire.read_solverstate
    iteration, model, history, current_step = read(path)
    _check_history(solver, path, history)
    stored = _read_position(runs.position_path(path), iteration, history)
    if model:
        model = _find_model(solver.net, path, model, stored)
    before, random = layer_states(solver.net), rng.get_state()
    try:
        if stored is not None:
            _restore_training(solver, stored, runs.position_path(path))
        if model:
            solver.net.copy_from(model)
    except Exception:
        restore_layers(solver.net, before)
        rng.set_state(random)
        raise
    for mine, values in zip(solver._history, history):
        mine.data[...] = np.asarray(values, dtype=np.float32).reshape(mine.shape)
    solver.iter = iteration
    solver._current_step = current_step
    solver._step_reached_at = -1
    solver._held = None
    solver._half_updated = False
    solver._run = runs.Run.after(stored["run"] if stored else None, iteration)
    if stored is not None:
        restore_tests(solver, stored)
        solver._losses.replace(stored["losses"])
        solver._losses_go_on = True


def _find_model(net, state: str, named: str, stored: dict | None) -> str:
    """The caffemodel of the solverstate `state`, which names it `named`: the file of that name
    beside it, since the whole folder may be a copy, or else the one at that path."""
    beside = os.path.join(os.path.dirname(state), os.path.basename(named))
    paths = map(not_utf8.path, dict.fromkeys((beside, named)))
    there = [path for path in paths if os.path.exists(path)]
    if not there:
        raise InputError(f"{state}: its caffemodel {named} is not there")
    problems = []
    for path in there:
        try:
            _check_model(net, state, path, stored["weights"] if stored else {})
            return path
        except InputError as error:
            problems.append(error)
    raise problems[0]


def _check_model(net, state: str, path: str, fingerprints: dict[str, list[int]]) -> None:
    """InputError unless the caffemodel `path` has every parameter of `net`, those of whose layers
    `fingerprints` are known as they were when `state` was written."""
    found = {name: blobs for name, _, blobs in read_weights(path) if blobs}
    own = {id(blob) for blob in net._learnable.blobs}
    named: dict[str, list] = {}
    for name, layer in zip(net._layer_names, net.layers):
        if layer.blobs:
            named.setdefault(name, []).append(layer)
    for name, (layer, *others) in named.items():
        if others:  # which of them has what depends on the file's form
            continue
        blobs, known = found.get(name, []), fingerprints.get(name, [])
        for i, blob in enumerate(layer.blobs):
            stored = blobs[i] if i < len(blobs) else None
            if stored is None and id(blob) in own:
                raise InputError(
                    f"{path}: has no parameter {i} of layer '{name}', so it is not the caffemodel "
                    f"that {state} was written with; put that one beside it"
                )
            if stored is not None and not np.isfinite(stored[1]).all():
                raise InputError(
                    f"{path}: the weights of {name}[{i}] are not finite: that training had "
                    "diverged; go on from an earlier snapshot"
                )
            if stored is not None and i < len(known) and known[i] != _fingerprint([stored[1]]):
                raise InputError(
                    f"{path}: is not the caffemodel that {state} was written with (parameter {i} "
                    f"of layer '{name}' differs): put that one beside it, or start from these "
                    "weights alone"
                )


def _check_history(solver, path: str, history) -> None:
    names = solver.net._learnable.names * solver.histories
    if len(history) != len(solver._history):
        raise InputError(
            f"{path}: holds {len(history)} history blobs, this solver has "
            f"{len(solver._history)}; is it of another net or solver type?"
        )
    for name, mine, stored in zip(names, solver._history, history):
        if mine.count != stored.size:
            raise InputError(
                f"{path}: the history of {name} has {stored.size} values, the net's "
                f"parameter {mine.count}"
            )
        if not np.isfinite(stored).all():
            raise InputError(
                f"{path}: the history of {name} is not finite: that training had diverged; go on "
                "from an earlier snapshot"
            )


def _read_position(path: str, iteration: int, history) -> dict | None:
    """What the side file holds; None, with a warning, where there is none, or one of another
    solverstate (BVLC Caffe has written over this one)."""
    path = not_utf8.path(path)
    if not os.path.exists(path):
        log(f"{path} is not there: the data start again from their beginning", WARNING)
        return None
    try:
        stored = runs.read_json(path)
        position = {
            "layers": dict(stored["layers"]),
            "test_layers": [dict(states) for states in stored.get("test_layers", [])],
            "generators": {k: base64.b64decode(v) for k, v in stored["generators"].items()},
            "losses": [float(value) for value in stored["losses"]],
            "weights": {n: list(map(int, v)) for n, v in stored.get("weights_crc32", {}).items()},
            "run": runs.Run.from_json(stored),
        }
        if stored["iter"] != iteration:
            raise ValueError(f"it is of iteration {stored['iter']}, not {iteration}")
    except _DAMAGED as error:
        raise _broken(path, error) from None
    if stored.get("history_crc32") not in (None, _fingerprint(history)):
        log(f"{path} is of another solverstate: the data start again from their beginning", WARNING)
        return None
    return position


def _restore_training(solver, position: dict, path: str) -> None:
    """The training net's layers and the random generators, as `position` has them."""
    try:
        restore_layers(solver.net, position["layers"])
        rng.set_state(position["generators"])
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        if hasattr(error, "exit_code"):  # the layer's own words: other data, say
            raise
        raise _broken(path, error) from None
    if solver_rank():  # the generators are the first solver's: no two draw the same masks
        rng.reseed((rng.draw_seed() + solver_rank()) % 2**62)


def restore_tests(solver, position: dict) -> None:
    """The test nets' layers, as `position` has them. Training goes on where a test net has other
    data now."""
    for net, states in zip(solver.test_nets, position["test_layers"]):
        try:
            restore_layers(net, states)
        except Exception as error:
            log(f"the test data start again from their beginning: {error}", WARNING)


def _broken(path: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{path}: broken ({reason}); remove it to start the data anew")
