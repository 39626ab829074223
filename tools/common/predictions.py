"""Class numbers out of a net's scores, image by image."""

from __future__ import annotations

import numpy as np

from tools.common.cli import Failure, UserError


def predict(scores, name):
    """1 x C x H x W scores -> H x W class numbers of the highest.

    Raises Failure where they are not finite.
    """
    _require_image(scores.shape)
    # NaN passes through both.
    _require_finite(np.isfinite(scores.max()) and np.isfinite(scores.min()), name)
    return scores[0].argmax(axis=0)


def segment_once(net, layer, name):
    """Run the net; H x W class numbers of the highest scores of blob `layer`. Raises Failure."""
    ((_, prediction, _),) = segmented(net, layer, (), [name])
    return prediction


def segmented(net, layer, names, dataset):
    """Run the net once per id in `dataset`: (id, H x W class numbers of the highest scores of blob
    `layer`, {name: array} of the blobs `names`) for each. Raises Failure.

    On the engine, a GPU is at work on the next image while the caller has this one.
    """
    import caffe

    if not hasattr(caffe, "engine"):
        for name in dataset:
            net.forward()
            prediction = predict(net.blobs[layer].data, name)
            yield name, prediction, {key: net.blobs[key].data for key in names}
        return
    before = None
    for name in dataset:
        try:
            result = caffe.engine.start_segmenting(net, layer, *names)
        except Exception:
            if before is not None:  # the image before it is whole
                yield _finish(*before)
            raise
        started = name, result, net.blobs[layer].shape
        if before is not None:
            yield _finish(*before)
        before = started
    if before is not None:
        yield _finish(*before)


def _finish(name, result, shape):
    _require_image(shape)
    classes, finite, found = result()
    _require_finite(finite, name)
    return name, classes[0], found


def _require_image(shape):
    if len(shape) != 4 or shape[0] != 1:
        raise UserError(f"scores of shape {tuple(shape)}; expected one image, 1 x C x H x W")


def _require_finite(finite, name):
    if not finite:
        raise Failure(f"{name}: the net's scores are not finite; its training has diverged")
