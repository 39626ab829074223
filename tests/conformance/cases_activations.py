"""Strategies of the layers that work on each element by itself (activations.py).

BNLL, Clip and Log are never drawn in place: BVLC Caffe's own gradient is wrong there (it takes the
overwritten bottom for its input), and so it is for ELU with a negative alpha.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.conformance.case_tools import case, ints, layer, maybe, message, shape


def kinds(draw):
    return [draw(st.sampled_from(["normal", "normal", "ties"]))]


@layer("AbsVal")
def _(draw):
    in_place = draw(ints(0, 9)) == 0  # both refuse
    return case(draw, 'type: "AbsVal"', [shape(draw)], kinds=kinds(draw), in_place=in_place)


@layer("BNLL")
def _(draw):
    return case(draw, 'type: "BNLL"', [shape(draw)], kinds=kinds(draw))


@layer("Clip")
def _(draw):
    limits = st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0])  # the ties lie on some of them
    text = message("clip_param", min=draw(limits), max=draw(limits))
    if draw(ints(0, 9)) == 0:
        text = ""
    return case(draw, f'type: "Clip" {text}', [shape(draw)], kinds=kinds(draw))


@layer("ELU")
def _(draw):
    alpha = maybe(draw, st.sampled_from([0.0, 0.25, 2.0, -0.5]))
    in_place = draw(st.booleans()) if alpha is None or alpha >= 0 else False
    text = f'type: "ELU" {message("elu_param", alpha=alpha)}'
    return case(draw, text, [shape(draw)], kinds=kinds(draw), in_place=in_place)


def exponential(draw, bases):
    return dict(
        base=maybe(draw, st.sampled_from(bases)),
        scale=maybe(draw, st.sampled_from([0.5, 2.0])),
        shift=maybe(draw, st.sampled_from([0.5, 1.0])),
    )


@layer("Exp")
def _(draw):
    fields = exponential(draw, [-1.0, 0.5, 1.0, 2.0, 10.0, 0.0])
    text = f'type: "Exp" {message("exp_param", **fields)}'
    return case(draw, text, [shape(draw)], kinds=kinds(draw), in_place=draw(st.booleans()))


@layer("Log")
def _(draw):
    fields = exponential(draw, [-1.0, 0.5, 2.0, 10.0, 1.0])
    text = f'type: "Log" {message("log_param", **fields)}'
    return case(draw, text, [shape(draw)], kinds=["positive"])


@layer("PReLU")
def _(draw):
    dims = shape(draw, 1 if draw(ints(0, 9)) == 0 else 2, 4)  # both refuse one axis
    text = message("prelu_param", channel_shared=maybe(draw, st.booleans()))
    in_place = draw(st.booleans())
    return case(draw, f'type: "PReLU" {text}', [dims], kinds=kinds(draw), in_place=in_place)


@layer("Swish")
def _(draw):
    beta = maybe(draw, st.sampled_from([0.0, 0.5, 2.0, -1.0]))
    text = f'type: "Swish" {message("swish_param", beta=beta)}'
    return case(draw, text, [shape(draw)], kinds=kinds(draw), in_place=draw(st.booleans()))


@layer("Threshold")
def _(draw):
    threshold = maybe(draw, st.sampled_from([-1.0, 0.0, 0.5, 1.0]))
    text = f'type: "Threshold" {message("threshold_param", threshold=threshold)}'
    return case(draw, text, [shape(draw)], kinds=kinds(draw), in_place=draw(st.booleans()))
