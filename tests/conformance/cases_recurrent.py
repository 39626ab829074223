"""Strategies for the layers over time; `case_tools.case` says what they make."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.conformance.case_tools import case, ints, layer, maybe, message, shape

FILLERS = 'weight_filler { type: "uniform" } bias_filler { type: "uniform" }'


def sequences(draw, type_name, states):
    steps, number, outputs = draw(ints(1, 6)), draw(ints(1, 3)), draw(ints(1, 4))
    shapes = [[steps, number, *shape(draw, 1, 2, 4)], [steps, number]]
    kinds = ["normal", draw(st.sampled_from(["labels 2", "labels 2", "normal"]))]
    if draw(st.booleans()):
        shapes.append([number, *shape(draw, 1, 2, 4)])
        kinds.append("normal")
    expose = maybe(draw, st.booleans())
    if expose:
        shapes += [[1, number, outputs]] * states
        kinds += ["normal"] * states
    fields = {"num_output": outputs, "expose_hidden": expose}
    text = message("recurrent_param", **fields)[:-1] + FILLERS + " }"
    if draw(st.booleans()):
        rates = draw(st.lists(st.sampled_from([0, 1]), min_size=1, max_size=3))
        text += " " + " ".join(f"param {{ lr_mult: {rate} }}" for rate in rates)
    tops = 1 + states if expose else 1
    return case(draw, f'type: "{type_name}" {text}', shapes, tops=tops, kinds=kinds)


@layer("LSTM")
def _(draw):
    return sequences(draw, "LSTM", 2)


@layer("RNN")
def _(draw):
    return sequences(draw, "RNN", 1)


@layer("LSTMUnit")
def _(draw):
    number, width = draw(ints(1, 4)), draw(ints(1, 4))
    shapes = [[1, number, width], [1, number, 4 * width], [1, number]]
    kinds = ["normal", "normal", draw(st.sampled_from(["labels 2", "labels 2", "normal"]))]
    return case(draw, 'type: "LSTMUnit"', shapes, tops=2, kinds=kinds)
