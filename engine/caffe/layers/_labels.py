"""Labels: a blob of class numbers beside one of scores."""

from __future__ import annotations

import math

import torch

from ..core.blob import Blob
from ..core.layer import Layer


def require_label_per_score(layer: Layer, scores: Blob, labels: Blob, axis: int) -> None:
    """One label for each place that is left when `axis` is taken out of the scores' shape."""
    wanted = math.prod(scores.shape) // max(scores.shape[axis], 1)
    if labels.count != wanted:
        names = layer.layer_param.bottom
        raise layer.fail(
            f"'{names[0]}' of shape {scores.shape} needs {wanted} labels; "
            f"'{names[1]}' of shape {labels.shape} holds {labels.count}"
        )


def class_numbers(
    layer: Layer, labels: Blob, shape: tuple[int, int, int], classes: int, ignore: int | None
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """The labels as (index, valid, wrong): class numbers (int64, of `shape`, within 0 to
    classes - 1 everywhere), which of them count (None: all), and whether any that counts was out
    of range (None: none was; on a GPU it is not waited for).

    Raises InputError on the CPU for labels out of range.
    """
    given = labels.read().view(shape).long()
    if ignore is None and given.device.type == "cpu" and given.numel():
        least, most = torch.aminmax(given)
        if least.item() >= 0 and most.item() < classes:
            return given, None, None
    valid = given != ignore if ignore is not None else None
    index = given.clamp(0, classes - 1)
    outside = index != given
    if valid is not None:
        outside &= valid
    if given.device.type != "cpu":
        return index, valid, outside.any()
    if outside.any():
        raw = labels.read().view(shape)[outside]
        if raw.isnan().any():
            raise layer.fail(
                f"'{layer.layer_param.bottom[1]}' holds NaN where a label should be: what makes "
                "the labels divides by zero, or reads a broken file"
            )
        found = sorted(set(raw.trunc().tolist()))
        shown = ", ".join(f"{label:g}" for label in found[:5]) + (", …" if found[5:] else "")
        hint = "" if ignore is not None else "; if it marks void, set ignore_label"
        raise layer.fail(
            f"label {shown} in '{layer.layer_param.bottom[1]}' is not one of the {classes} "
            f"classes 0 to {classes - 1}{hint}"
        )
    return index, valid, None
