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

from ..compute import rng
from ..errors import InputError
from ..log import WARNING, log
from ..proto import caffe_pb2, hdf5, not_utf8, wire
from ..proto.files import atomic_write
from ..proto.hdf5_checks import is_hdf5
from ..ranks import solver_rank


def position_path(state_path: str) -> str:
    """The side file of a solverstate."""
    for ending in (".solverstate.h5", ".solverstate"):
        if state_path.endswith(ending):
            return state_path[: -len(ending)] + ".position.json"
    return state_path + ".position.json"


def check_place(prefix: str) -> None:
    """Raise InputError where no snapshot could be written: before the training, not in it."""
    folder = os.path.dirname(not_utf8.path(prefix)) or "."
    if not os.path.isdir(folder):
        raise InputError(f"snapshot_prefix '{prefix}': there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK):
        raise InputError(f"snapshot_prefix '{prefix}': the folder {folder} cannot be written to")


def save(solver) -> str:
    """Write the snapshot of `solver`'s present iteration; return the solverstate's path."""
    stem = f"{solver.param.snapshot_prefix}_iter_{solver.iter}"
    as_hdf5 = solver.param.snapshot_format == caffe_pb2.SolverParameter.HDF5
    ending = ".h5" if as_hdf5 else ""
    model, state = f"{stem}.caffemodel{ending}", f"{stem}.solverstate{ending}"
    log(f"Snapshotting to {'HDF5' if as_hdf5 else 'binary proto'} file {model}")
    save_net = solver.net.save_hdf5 if as_hdf5 else solver.net.save
    save_net(model, diffs=solver.param.snapshot_diff)
    history = [blob.read().cpu().numpy() for blob in solver._history]
    _write_position(solver, position_path(state), history)
    log(f"Snapshotting solver state to {'HDF5' if as_hdf5 else 'binary proto'} file {state}")
    write = hdf5.write_solverstate_hdf5 if as_hdf5 else wire.write_solverstate
    write(state, solver.iter, model, history, solver._current_step)
    return state


def layer_states(net, only=lambda layer: True) -> dict:
    """What the net's layers (`only` some of them) carry from one iteration to the next, by layer
    name, for JSON: a data layer its place in the data.

    A layer, also one in Python, takes part by two methods: `state()` gives a dict for JSON,
    `restore_state(dict)` goes on there, or raises. A data layer's state is the same in all of
    several solvers: it tells where all of them are, of which each takes its own items.
    """
    return {
        name: layer.state()
        for name, layer in zip(net._layer_names, net.layers)
        if hasattr(layer, "restore_state") and hasattr(layer, "state") and only(layer)
    }


def restore_layers(net, states: dict) -> None:
    """Undo of `layer_states`; states of layers that are not there are left out."""
    for name, state in states.items():
        layer = net.layer_dict.get(name)
        if hasattr(layer, "restore_state"):
            layer.restore_state(state)


def position(solver) -> dict:
    """What the side file is made of."""
    return {
        "iter": solver.iter,
        "layers": layer_states(solver.net),
        "test_layers": [layer_states(net) for net in solver.test_nets],
        "generators": rng.get_state(),
        "losses": list(solver._losses),
    }


def _write_position(solver, path: str, history) -> None:
    now = solver._held or position(solver)
    coded = {
        key: base64.b64encode(value).decode("ascii") for key, value in now["generators"].items()
    }
    whole = {**now, "generators": coded, "history_crc32": _fingerprint(history)}
    with atomic_write(path) as file:
        file.write(json.dumps(whole).encode("utf-8"))


def _fingerprint(history) -> int:
    """Which solverstate a side file belongs to: of the same iteration there may be several."""
    found = 0
    for values in history:
        found = zlib.crc32(np.ascontiguousarray(values, np.float32).data, found)
    return found


def restore(solver, path: str) -> None:
    """Bring `solver` to where the solverstate `path` was written.

    Raises InputError, naming the file, when it or the caffemodel is missing, broken or of
    another net; the solver and its net's layers are then as they were.
    """
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file")
    read = hdf5.read_solverstate_hdf5 if is_hdf5(path) else wire.read_solverstate
    iteration, model, history, current_step = read(path)
    _check_history(solver, path, history)
    stored = _read_position(position_path(path), iteration, history)
    before, random = layer_states(solver.net), rng.get_state()
    try:
        if stored is not None:
            _restore_training(solver, stored, position_path(path))
        if model:
            solver.net.copy_from(_find_model(path, model))
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
    if stored is not None:
        restore_tests(solver, stored)
        solver._losses.replace(stored["losses"])
        solver._restored_losses = True


def _find_model(state: str, model: str) -> str:
    """The caffemodel as the solverstate names it, or else beside the solverstate."""
    beside = os.path.join(os.path.dirname(state), os.path.basename(model))
    for candidate in map(not_utf8.path, (model, beside)):
        if os.path.exists(candidate):
            return candidate
    raise InputError(f"{state}: its caffemodel {model} is not there")


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


def _read_position(path: str, iteration: int, history) -> dict | None:
    """What the side file holds; None, with a warning, where there is none, or one of another
    solverstate (BVLC Caffe has written over this one)."""
    path = not_utf8.path(path)
    if not os.path.exists(path):
        log(f"{path} is not there: the data start again from their beginning", WARNING)
        return None
    try:
        with open(path, encoding="utf-8") as file:
            stored = json.load(file)
        position = {
            "layers": dict(stored["layers"]),
            "test_layers": [dict(states) for states in stored.get("test_layers", [])],
            "generators": {k: base64.b64decode(v) for k, v in stored["generators"].items()},
            "losses": [float(value) for value in stored["losses"]],
        }
        if stored["iter"] != iteration:
            raise ValueError(f"it is of iteration {stored['iter']}, not {iteration}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
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
