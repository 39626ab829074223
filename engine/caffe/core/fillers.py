"""Fillers: how a parameter blob starts.

All draw on the CPU, so that a net starts with the same numbers whichever device it runs on. A
blob's first axis counts its outputs and its second its inputs (Caffe's weight layout), hence
fan-in = count / shape[0] and fan-out = count / shape[1].
"""

from __future__ import annotations

import math

import torch

from ..compute import rng
from ..errors import InputError
from ..proto.hints import did_you_mean
from .blob import Blob

_CPU = torch.device("cpu")


def fill(blob: Blob, filler_param) -> None:
    """Fill `blob.data` as the FillerParameter `filler_param` says.

    Raises InputError for an unknown type, for a shape that the filler cannot fill and for fields
    out of range.
    """
    make = _FILLERS.get(filler_param.type)
    if make is None:
        hint = (
            did_you_mean(filler_param.type, _FILLERS) or f"; known: {', '.join(sorted(_FILLERS))}"
        )
        raise InputError(f"unknown filler type '{filler_param.type}'{hint}")
    if filler_param.sparse != -1 and filler_param.type != "gaussian":
        raise InputError(f"filler '{filler_param.type}': only 'gaussian' can be sparse")
    zero = filler_param.type == "constant" and filler_param.value == 0
    if blob.count and not (zero and blob.data_is_zero):
        blob.overwrite(_CPU).copy_(make(blob.shape, filler_param))


def _generator() -> torch.Generator:
    return rng.generator(_CPU)


def _uniform(shape, low: float, high: float) -> torch.Tensor:
    return torch.empty(shape).uniform_(low, high, generator=_generator())


def _normal(shape, mean: float, std: float) -> torch.Tensor:
    return torch.empty(shape).normal_(mean, std, generator=_generator())


def _fan(shape, filler) -> float:
    """The number n that xavier and msra scale by, after `variance_norm`."""
    count = math.prod(shape)
    fan_in = count / shape[0] if shape else 1
    fan_out = count / shape[1] if len(shape) > 1 else count
    if filler.variance_norm == filler.FAN_OUT:
        return fan_out
    if filler.variance_norm == filler.AVERAGE:
        return (fan_in + fan_out) / 2
    return fan_in


def _constant(shape, filler):
    return torch.tensor(filler.value).expand(shape)


def _uniform_filler(shape, filler):
    if filler.min > filler.max:
        raise InputError(f"filler 'uniform': min {filler.min} is above max {filler.max}")
    return _uniform(shape, filler.min, filler.max)


def _gaussian(shape, filler):
    if filler.std < 0:
        raise InputError(f"filler 'gaussian': std {filler.std} is negative")
    values = _normal(shape, filler.mean, filler.std)
    if filler.sparse == -1:
        return values
    outputs = shape[0] if shape else 1
    if not 0 <= filler.sparse <= outputs:
        raise InputError(f"filler 'gaussian': sparse {filler.sparse} is not within 0 to {outputs}")
    # `sparse` is how many of the outputs each input feeds, on average.
    return values * torch.empty(shape).bernoulli_(filler.sparse / outputs, generator=_generator())


def _positive_unitball(shape, filler):
    """Uniform numbers scaled so that the inputs of every output sum to 1."""
    rows = _uniform(shape, 0, 1).view(shape[0] if shape else 1, -1)
    return (rows / rows.sum(1, keepdim=True)).view(shape)


def _xavier(shape, filler):
    """Glorot & Bengio 2010, with a variance of 1/n."""
    bound = math.sqrt(3 / _fan(shape, filler))
    return _uniform(shape, -bound, bound)


def _msra(shape, filler):
    """He et al. 2015: a normal distribution of variance 2/n."""
    return _normal(shape, 0, math.sqrt(2 / _fan(shape, filler)))


def _bilinear(shape, filler):
    """The bilinear interpolation kernel in every channel: side K, factor f = ceil(K/2), centre
    c = (K-1)/(2f), weight (1-|x/f-c|)(1-|y/f-c|)."""
    if len(shape) != 4 or shape[2] != shape[3]:
        raise InputError(f"filler 'bilinear' fills (out, in, K, K) blobs, not {tuple(shape)}")
    factor = math.ceil(shape[3] / 2)
    centre = (shape[3] - 1) / (2 * factor)
    ramp = 1 - (torch.arange(shape[3], dtype=torch.float64) / factor - centre).abs()
    return torch.outer(ramp, ramp).expand(shape)


_FILLERS = {
    "constant": _constant,
    "uniform": _uniform_filler,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
