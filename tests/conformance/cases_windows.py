"""Strategies for the layers that lay windows over the bottom: Im2col, SPP."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.conformance.case_tools import case, ints, layer, maybe, message, shape
from tests.conformance.cases import windows


@layer("Im2col")
def _(draw):
    axes = draw(st.sampled_from([2, 2, 2, 1, 3]))
    fields = windows(draw, axes)
    before = shape(draw, 1, 3, 3)  # up to the channels
    axis = len(before) - 1
    spelt = draw(st.sampled_from([axis, axis - len(before) - axes]))
    text = message(
        "convolution_param",
        axis=None if axis == 1 and draw(st.booleans()) else spelt,
        force_nd_im2col=maybe(draw, st.booleans()),
        **fields,
    )
    spatial = [draw(ints(2, 7 if axes < 3 else 4)) for _ in range(axes)]
    return case(draw, f'type: "Im2col" {text}', [[*before, *spatial]])


@layer("SPP")
def _(draw):
    height = draw(ints(1, 3))
    # At least as many elements as bins, most of the time.
    sides = [draw(ints(max(2 ** (height - 1) - 1, 1), 11)) for _ in range(2)]
    pool = maybe(draw, st.sampled_from(["MAX", "AVE"]))
    text = message("spp_param", pyramid_height=height, pool=pool)
    kind = draw(st.sampled_from(["normal", "ties"]))
    dims = [draw(ints(1, 2)), draw(ints(1, 3)), *sides]
    return case(draw, f'type: "SPP" {text}', [dims], kinds=[kind])
