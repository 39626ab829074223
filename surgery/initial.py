"""From pretrained weights to a net's initial weights: each layer by its rule."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial

import numpy as np

from surgery import channels, fc6, fillers, narrow
from surgery.bilinear import interp
from surgery.errors import SurgeryError
from surgery.weights import assign, by_x


def initialise(
    net,
    proto,
    sources: Iterable[tuple[str, str, Mapping]],
    fc6_mode: str = "decimate",
    fill: str | None = None,
    seed: int = 0,
    drop: Collection[str] = (),
    new_channels: str = "mean",
) -> tuple[list[tuple], list[str]]:
    """Write initial weights into `net` (a caffe.Net) and tell where each layer's came from.

    proto: the net's NetParameter. sources: list of (file name, suffix, layer name -> arrays); layer
    x goes to layer x + suffix. fill: None or "msra", for layers that could never learn from 0.
    drop: names of layers of the sources to leave out. new_channels: as `channels.fit` has it.

    Returns (rows, dropped): rows is a list of (layer, shape, where from), in the net's order;
    dropped names the source layers that no layer took. Raises SurgeryError where shapes disagree,
    where a source has none of the net's layers, or where a layer would be dead and fill is None.
    """
    origin: dict[str, str] = {}
    dropped: list[str] = []
    layers = {layer.name: layer for layer in proto.layer}
    up = [n for n in net.params if "up" in n and layers[n].type == "Deconvolution"]
    fixed = [n for n in net.params if layers[n].type == "Scale" and _is_fixed(layers[n])]
    named = channels.names_of(proto)
    for path, suffix, source in sources:
        source = {name: arrays for name, arrays in source.items() if name not in drop}
        widen = partial(channels.fit, names=named, new=new_channels)
        copied = _copy_layers(net, source, suffix, set(up + fixed), origin, fc6_mode, widen)
        if not copied:
            raise SurgeryError(
                f"{path}: has none of the net's layers"
                + (f" with the suffix {suffix}" if suffix else "")
                + f": it has {_few(source)}; the net has {_few(net.params)}"
            )
        dropped += [n for n in source if n not in copied and n + suffix not in up + fixed]
    interp(net, up)
    for name in up:
        origin[name] = "bilinear"
    for name in fixed:
        values = np.unique(net.params[name][0].data)
        origin[name] = f"fixed scale {values[0]:g}" if values.size == 1 else "fixed scale"
    _fill(net, proto, layers, origin, fill, seed)
    return [(n, by_x(net.params[n][0].data.shape), origin[n]) for n in net.params], dropped


def _copy_layers(net, source, suffix, kept, origin, fc6_mode, widen):
    """Copy every layer of the source that the net has; returns the source's names that were.

    widen(weights, shape) -> (weights for other input channels, where they come from).
    """
    copied = set()
    for name in net.params:
        base = name[: len(name) - len(suffix)]
        if name in kept or base + suffix != name:
            continue
        widened = base not in source and channels.WIDENED.get(base) in source
        base = channels.WIDENED[base] if widened else base
        if base not in source:
            continue
        blobs = net.params[name]
        shape = blobs[0].data.shape
        (weights, *others), fewer = narrow.narrowed(base, source[base], shape)
        words = "copied"
        if widened:
            weights, words = widen(weights, shape)
        elif base == "fc6":
            weights, words = fc6.fit(weights, shape, fc6_mode)
        for index, array in enumerate([weights, *others]):
            if index < len(blobs):
                assign(name, index, blobs[index].data, array)
        if source[base][0].shape != shape and not widened:
            words += f" from {by_x(source[base][0].shape)}" + (f", {fewer}" if fewer else "")
        origin[name] = words + (f" ({base})" if suffix else "")
        copied.add(base)
    return copied


def _fill(net, proto, layers, origin, fill, seed):
    """Settle the layers that have no source: zero, dead, filled by the net's own filler."""
    left = [name for name in net.params if name not in origin]
    zero = [name for name in left if not net.params[name][0].data.any()]
    dead = fillers.dead_layers(proto, {n for n in zero if layers[n].type in fillers.FILLED})
    if dead and fill is None:
        raise SurgeryError(
            f"{', '.join(dead)}: not in the source, and a layer of zeros here could never learn; "
            "--fill-missing msra fills it at random"
        )
    for name in left:
        weights = net.params[name][0].data
        if name in dead:
            weights[...] = fillers.msra(weights.shape, seed, name)
            origin[name] = "msra-filled"
        elif name in zero:
            origin[name] = "zero"
        else:
            origin[name] = f"the net's filler ({_filler(layers[name])})"


def _is_fixed(layer):
    return bool(layer.param) and all(param.lr_mult == 0 for param in layer.param)


def _filler(layer):
    for _, value in layer.ListFields():
        if hasattr(value, "weight_filler") and value.HasField("weight_filler"):
            return value.weight_filler.type
        if hasattr(value, "filler") and value.HasField("filler"):
            return value.filler.type
    return "default"


def _few(names):
    names = list(names)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
