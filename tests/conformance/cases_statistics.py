"""Strategies for the layers made of sums over axes: MVN, Reduction."""

from __future__ import annotations

from hypothesis import assume, strategies as st

from tests.conformance.case_tools import case, ints, layer, maybe, message, shape


@layer("MVN")
def _(draw):
    variance = maybe(draw, st.booleans())
    text = message(
        "mvn_param",
        normalize_variance=variance,
        across_channels=maybe(draw, st.booleans()),
        eps=maybe(draw, st.sampled_from([1e-5, 0.1, 1.0])),
    )
    # In place BVLC Caffe's gradient through the variance is wrong (it overwrites its top's diff).
    in_place = variance is False and draw(st.booleans())
    kind = draw(st.sampled_from(["normal", "positive"]))
    return case(draw, f'type: "MVN" {text}', [shape(draw)], kinds=[kind], in_place=in_place)


@layer("Reduction")
def _(draw):
    dims = shape(draw)
    axis = maybe(draw, ints(-len(dims), len(dims) - 1))
    text = message(
        "reduction_param",
        operation=maybe(draw, st.sampled_from(["SUM", "ASUM", "SUMSQ", "MEAN"])),
        axis=axis,
        coeff=maybe(draw, st.sampled_from([0.5, -2.0, 1.0, 0.0])),
    )
    if draw(ints(0, 3)) == 0:
        text += " loss_weight: 0.5"
        assume(axis in (None, 0, -len(dims)))
    kind = draw(st.sampled_from(["normal", "ties"]))
    return case(draw, f'type: "Reduction" {text}', [dims], kinds=[kind])
