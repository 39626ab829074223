"""Strategies for the layers that pick or repeat rows: BatchReindex, Embed, Filter, Tile.

The first three refuse a net with force_backward, in both: test_bvlc_row_layers.py compares their
gradients.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.conformance.case_tools import case, ints, layer, maybe, message, shape


@layer("BatchReindex")
def _(draw):
    dims = shape(draw)
    kinds = ["normal", f"labels {dims[0]}"]
    return case(draw, 'type: "BatchReindex"', [dims, [draw(ints(1, 7))]], kinds=kinds)


@layer("Embed")
def _(draw):
    words = draw(ints(1, 6))
    text = message(
        "embed_param",
        num_output=draw(ints(1, 5)),
        input_dim=words,
        bias_term=maybe(draw, st.booleans()),
    )
    return case(draw, f'type: "Embed" {text}', [shape(draw, 0, 3)], kinds=[f"labels {words}"])


@layer("Filter")
def _(draw):
    rows, tops = draw(ints(1, 5)), draw(ints(1, 3))
    bottoms = [[rows, *shape(draw, 0, 3)] for _ in range(tops)]
    selector = [rows] + [1] * draw(ints(0, 3))
    kinds = ["normal"] * tops + [draw(st.sampled_from(["labels 2", "ties", "positive"]))]
    return case(draw, 'type: "Filter"', [*bottoms, selector], tops=tops, kinds=kinds)


@layer("Tile")
def _(draw):
    dims = shape(draw)
    axis = draw(ints(0, len(dims) - 1))
    spelt = draw(st.sampled_from([axis, axis - len(dims)]))
    if axis == 1 and draw(st.booleans()):
        spelt = None
    text = message("tile_param", axis=spelt, tiles=draw(ints(1, 4)))
    return case(draw, f'type: "Tile" {text}', [dims])
