"""What all ranks of a training must have alike, and how it differs where it does not."""

from __future__ import annotations

import json
import zlib

import torch
from google.protobuf import text_format

_EACH_ITS_OWN = {
    "net", "train_net", "test_net", "test_iter", "test_interval", "test_initialization",
    "test_compute_loss", "test_net_param", "test_state", "display", "average_loss", "snapshot",
    "snapshot_prefix", "snapshot_format", "snapshot_after_train", "snapshot_diff", "device_id",
    "debug_info", "weights", "net_param", "train_net_param", "layer_wise_reduce",
}  # fmt: skip
"""The solver's fields that only rank 0 goes by, and paths, which may differ between machines."""


def only_gradients(param) -> None:
    """Make a SolverParameter that of a process which gives gradients, and tests, shows and saves
    nothing."""
    param.snapshot = param.display = param.test_interval = 0
    param.snapshot_after_train = param.debug_info = False
    for name in ("test_iter", "test_net", "test_net_param", "test_state"):
        param.ClearField(name)


def facts(solver, version: str, gradients: str) -> dict:
    """What must be alike, for JSON."""
    param, net = solver.param, solver.net
    alike = [field.name for field in param.DESCRIPTOR.fields if field.name not in _EACH_ITS_OWN]
    layers = zip(net._layer_names, net._wiring.layers)
    return {
        "engine": version,
        "PyTorch": ".".join(torch.__version__.split(".")[:2]),
        "gradients": gradients,
        "solver": {name: str(getattr(param, name)) for name in alike},
        "layers": [_layer(name, layer) for name, layer in layers],
        "data": {n: _data(one) for n, one in zip(net._layer_names, net.layers) if _is_data(one)},
    }


def _layer(name: str, layer) -> list:
    """Name, type, parameters' shapes and settings of a layer; of one that reads data no settings:
    paths may differ."""
    shapes = ["x".join(map(str, blob.shape)) for blob in layer.blobs]
    param = layer.layer_param
    text = text_format.MessageToString(param, as_one_line=True) if param.bottom else ""
    return [name, layer.type, shapes, zlib.crc32(text.encode())]


def _is_data(layer) -> bool:
    return hasattr(layer, "fingerprint")


def _data(layer) -> dict:
    """Which items a layer reads, a number for them all in their order, and what becomes of them."""
    manner = getattr(layer, "manner", {})
    return json.loads(json.dumps({"items": layer.fingerprint, "manner": manner}))


def difference(mine: dict, first: dict) -> str | None:
    """What differs from rank 0's facts, in words; None where all is alike."""
    for what in ("engine", "PyTorch", "gradients"):
        if mine[what] != first[what]:
            return f"its {what} is {mine[what]}, rank 0's {first[what]}"
    for field, value in mine["solver"].items():
        theirs = first["solver"].get(field)
        if value != theirs:
            return f"its solver has {field}: {value}, rank 0's {theirs}"
    return _net_difference(mine["layers"], first["layers"]) or _data_difference(mine, first)


def _net_difference(mine: list, first: list) -> str | None:
    for ours, theirs in zip(mine, first):
        for what, own, other in zip(("name", "type", "parameters"), ours, theirs):
            if own != other:
                own, other = (", ".join(x) if isinstance(x, list) else x for x in (own, other))
                return (
                    f"its net is another one: layer '{ours[0]}' has the {what} {own or 'none'}, in "
                    f"rank 0 {other or 'none'}"
                )
        if ours != theirs:
            return f"its net is another one: layer '{ours[0]}' has other settings than in rank 0"
    if len(mine) != len(first):
        return f"its net is another one: it has {len(mine)} layers, rank 0's {len(first)}"
    return None


def _data_difference(mine: dict, first: dict) -> str | None:
    for name, own in mine["data"].items():
        other = first["data"].get(name)
        if other is None or own["items"] != other["items"]:
            return f"layer '{name}' reads other data: the list of its items is not that of rank 0"
        for key in sorted({*own["manner"], *other["manner"]}):
            ours, theirs = (one["manner"].get(key) for one in (own, other))
            if ours != theirs:
                return f"layer '{name}' has {key} {ours}, rank 0's {theirs}"
    return None
