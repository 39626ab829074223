"""Receptive fields are what a changed pixel reaches, and places where its centre lies."""

from __future__ import annotations

import re

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given, settings, strategies as st

from caffe.proto import caffe_pb2
from prototxt.errors import InputError
from tests.helpers.summary_nets import assert_is, built, by_top, conv, data, layer, summarized
from tools import summary
from tools.arithmetic import fields

WINDOW = st.fixed_dictionaries(
    dict(
        kind=st.sampled_from(["conv", "max", "ave"]),
        kernel=st.integers(1, 4),
        stride=st.integers(1, 3),
        pad=st.integers(0, 3),
        dilation=st.integers(1, 3),
    )
)
UP = st.integers(1, 3).flatmap(
    lambda stride: st.fixed_dictionaries(
        dict(kind=st.just("up"), kernel=st.integers(stride, 4), stride=st.just(stride))
    )
)
ROWS = 48


def chain_text(chain):
    """Layers that work on columns only: images are ROWS x 1, one for every row."""
    text, bottom = data(ROWS, 1, ROWS, 1), "data"
    for number, w in enumerate(chain):
        name = f"layer{number}"
        window = f"kernel_h: {w['kernel']} kernel_w: 1 stride_h: {w['stride']} stride_w: 1"
        if w["kind"] in ("conv", "up"):
            kind = "Deconvolution" if w["kind"] == "up" else "Convolution"
            more = f"pad_h: {w.get('pad', 0)} pad_w: 0 dilation: {w.get('dilation', 1)}"
            more += " dilation: 1"
            text += conv(name, bottom, f"{window} {more}", kind)
        else:
            pad = min(w["pad"], w["kernel"] - 1)
            stride = min(w["stride"], w["kernel"])  # else Caffe may lay a window outside
            window = window.replace(f"stride_h: {w['stride']}", f"stride_h: {stride}")
            window += f" pad_h: {pad} pad_w: 0 pool: {w['kind'].upper()}"
            text += layer(name, "Pooling", bottom, f"pooling_param {{ {window} }}")
        bottom = name
    return text, bottom


def pixels_seen(net, top):
    """Row of `top` -> the image rows that change it: image i has a one in row i alone."""
    net.blobs["data"].data[...] = np.eye(ROWS)[:, None, :, None]
    net.forward()
    changed = net.blobs[top].data[:, 0, :, 0] > 0
    return [np.flatnonzero(changed[:, row]) for row in range(changed.shape[1])]


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(st.lists(WINDOW, max_size=3), st.lists(UP, max_size=2), st.lists(WINDOW, max_size=1))
def test_a_receptive_field_is_what_a_changed_pixel_reaches(tmp_path_factory, down, ups, after):
    text, top = chain_text(down + ups + after)
    net = text_format.Parse(text, caffe_pb2.NetParameter())
    try:
        found = summary.summarize(net, "net")
    except InputError as error:
        assert "too small" in str(error)
        return
    real = built(net, tmp_path_factory.mktemp("net") / "n.prototxt")
    assert_is(found, real)
    row = by_top(found)[top]
    blobs = blobs_of(net, real)
    widths = []
    for point, seen in enumerate(pixels_seen(real, top)):
        low, high = fields.span(blobs, top, 0, float(point))
        if low >= 0 and high < ROWS:  # elsewhere borders cut it
            assert (seen[0], seen[-1]) == (low, high)
            widths.append(high - low + 1)
            if not ups:
                stride, start = row.grids[0]
                assert start + point * stride == (low + high) / 2
    if len(widths) >= blobs[top].ups[0]:
        assert row.field[0] == max(widths)
    assert row.field[0] >= max(widths, default=0) and row.field[1:] == [1]


def blobs_of(net, real):
    """The dict of fields.Blobs of a NetParameter, of which the caffe.Net `real` is made."""
    blobs = {}
    for made in net.layer:
        bottoms = [blobs[name].shape for name in made.bottom]
        for number, top in enumerate(made.top):
            shape = tuple(real.blobs[top].shape)
            fields.add(blobs, top, shape, fields.links(made, bottoms, number))
    return blobs


HALF = "kernel_h: 2 kernel_w: 1 stride_h: 2 stride_w: 1"
TWICE = "kernel_h: 4 kernel_w: 1 stride_h: 2 stride_w: 1"
SKIP = (
    data(ROWS, 1, ROWS, 1)
    + conv("conv", "data", "kernel_h: 3 kernel_w: 1 pad_h: 10 pad_w: 0")
    + layer("pool", "Pooling", "conv", f"pooling_param {{ {HALF} }}")
    + layer("pool2", "Pooling", "pool", f"pooling_param {{ {HALF} }}")
    + conv("deep", "pool2", "kernel_h: 3 kernel_w: 1")
    + conv("up", "deep", TWICE, "Deconvolution")
    + layer("skip", "Crop", "pool up", "crop_param { axis: 2 offset: 1 offset: 0 }")
    + layer("sum", "Eltwise", "up skip")
    + conv("up2", "sum", TWICE, "Deconvolution")
    + layer("score", "Crop", "up2 data", "crop_param { axis: 2 offset: 8 offset: 0 }")
)


def test_a_sums_field_is_its_largest_bottoms_through_skip_and_crop(tmp_path):
    found = summarized(SKIP)
    assert not found.notes
    rows = by_top(found)
    assert rows["skip"].field == [4, 1] and rows["sum"].field == rows["up"].field == [18, 1]
    real = built(SKIP, tmp_path / "n")
    blobs = blobs_of(text_format.Parse(SKIP, caffe_pb2.NetParameter()), real)
    seen = pixels_seen(real, "score")
    widths = []
    for point in range(15, ROWS - 15):
        low, high = fields.span(blobs, "score", 0, float(point))
        assert (seen[point][0], seen[point][-1]) == (low, high)
        widths.append(high - low + 1)
    assert rows["score"].field == [max(widths), 1]
    stride, start = rows["score"].grids[0]
    assert (stride, start) == (1, 0)


def test_maps_that_a_wrong_offset_lays_beside_each_other_are_noted():
    found = summarized(SKIP.replace("offset: 8", "offset: 9"))
    (note,) = found.notes
    assert re.search("'score' .Crop.*'score' stride 1 start 1 x 0, 'data' stride 1 start 0", note)


@pytest.mark.parametrize(
    "more",
    [
        layer("y", "Pooling", "data", "pooling_param { global_pooling: true pool: AVE }"),
        layer("y", "InnerProduct", "data", "inner_product_param { num_output: 2 }"),
        layer("y", "Softmax", "data", "softmax_param { axis: 2 }"),
        layer("y", "Concat", "data data", "concat_param { axis: 3 }"),
    ],
)
def test_a_layer_that_joins_places_sees_all_of_the_image(more):
    row = by_top(summarized(data(1, 2, 8, 8) + more))["y"]
    assert row.field is None and row.grids is None
