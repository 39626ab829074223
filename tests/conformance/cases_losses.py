"""Strategies of the losses beside SoftmaxWithLoss and EuclideanLoss (more_losses.py)."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from caffe.proto import caffe_pb2
from tests.conformance.case_tools import case, ints, layer, maybe, message, shape
from tests.conformance.cases import scores_and_labels

NORMALIZATIONS = ["FULL", "VALID", "BATCH_SIZE", "NONE"]


def weight(draw):
    return draw(st.sampled_from(["", "", "loss_weight: 0.5", "loss_weight: 2"]))


@layer("ContrastiveLoss")
def _(draw):
    dims = shape(draw, 1, 2)
    text = message(
        "contrastive_loss_param",
        margin=maybe(draw, st.sampled_from([0.0, 2.0, 4.0, 8.0])),
        legacy_version=maybe(draw, st.booleans()),
    )
    kind = draw(st.sampled_from(["normal", "ties"]))  # ties: equal vectors, at distance 0
    alike = dims[:1]
    if len(dims) == 2 and draw(st.booleans()):
        dims, alike = [*dims, 1, 1], [*alike, 1, 1, 1]
    if draw(ints(0, 9)) == 0:
        dims = [*dims[:2], 2, 2]  # both refuse
    kinds = [kind, kind, "labels 2"]
    text = f'type: "ContrastiveLoss" {text} {weight(draw)}'
    return case(draw, text, [dims, dims, alike], kinds=kinds)


def of_items(draw):
    """Scores of a few items, and a label for each: shapes, kinds of the labels."""
    dims = shape(draw, 1, 4)
    labels = [dims[0], *[1] * draw(ints(0, 3))]
    return [dims, labels], f"labels {int(np.prod(dims[1:]))}"


@layer("HingeLoss")
def _(draw):
    shapes, kind = of_items(draw)
    text = message("hinge_loss_param", norm=maybe(draw, st.sampled_from(["L1", "L2"])))
    scores = draw(st.sampled_from(["normal", "ties"]))
    return case(draw, f'type: "HingeLoss" {text} {weight(draw)}', shapes, kinds=[scores, kind])


@layer("MultinomialLogisticLoss")
def _(draw):
    shapes, kind = of_items(draw)
    text = f'type: "MultinomialLogisticLoss" {weight(draw)}'
    return case(draw, text, shapes, kinds=["positive", kind])


@layer("SigmoidCrossEntropyLoss")
def _(draw):
    dims = shape(draw)
    ignored = maybe(draw, st.sampled_from([255, 0, -1]))
    fields = {"ignore_label": ignored}
    if draw(st.booleans()):
        fields["normalization"] = draw(st.sampled_from(NORMALIZATIONS))
    if draw(st.booleans()):
        fields["normalize"] = draw(st.booleans())
    # Also targets that are neither 0 nor 1; what counts for ignore_label is their whole part.
    kind = draw(
        st.sampled_from(["normal", "labels 2" + ("" if ignored is None else f" {ignored}")])
    )
    targets = dims if draw(st.booleans()) else [dims[0], int(np.prod(dims[1:]))]
    text = f'type: "SigmoidCrossEntropyLoss" {message("loss_param", **fields)} {weight(draw)}'
    return case(draw, text, [dims, targets], kinds=["normal", kind])


_folder = []


def matrix_file(classes, seed):
    """The path of a BlobProto of classes x classes numbers, the same for the same arguments."""
    if not _folder:
        _folder.append(Path(tempfile.mkdtemp(prefix="infogain-")))
        atexit.register(shutil.rmtree, _folder[0], ignore_errors=True)
    path = _folder[0] / f"{classes}-{seed}.binaryproto"
    if not path.exists():
        values = np.random.RandomState(seed).standard_normal((classes, classes))
        blob = caffe_pb2.BlobProto(data=values.astype(np.float32).ravel())
        if seed % 2:
            blob.shape.dim.extend(values.shape)
        else:  # as Caffe's own tools once wrote it
            blob.num, blob.channels, blob.height, blob.width = 1, 1, classes, classes
        path.write_bytes(blob.SerializeToString())
    return path


@layer("InfogainLoss")
def _(draw):
    dims, labels, axis, kind, ignored = scores_and_labels(draw)
    classes = dims[1 if axis is None else axis]
    normalization = maybe(draw, st.sampled_from(NORMALIZATIONS))
    text = message("loss_param", ignore_label=ignored, normalization=normalization)
    shapes, kinds = [dims, labels], ["normal", kind]
    from_bottom = draw(ints(0, 3)) == 0
    if from_bottom:
        shapes.append([classes, classes])
        kinds.append("normal")
    else:
        source = f'"{matrix_file(classes, draw(ints(0, 3)))}"'
    text += message("infogain_loss_param", axis=axis, source=None if from_bottom else source)
    tops = draw(st.sampled_from([1, 1, 2]))
    given = draw(st.sampled_from([[1.0], [0.5], [2.0]])) + [0.0] * (tops - 1)
    text += " ".join(f" loss_weight: {one}" for one in given)
    made = case(draw, f'type: "InfogainLoss" {text}', shapes, tops=tops, kinds=kinds)
    # With force_backward BVLC Caffe asks for the gradient of H too, and aborts.
    return dict(made, backward=not from_bottom)
