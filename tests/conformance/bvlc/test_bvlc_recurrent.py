"""LSTM and RNN over several passes: the state that is carried on, sizes, gradients, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conformance import both, report
from tests.conformance.nets import FORCED, data, ip, layer, net
from tests.conformance.small import agree

STEPS, STREAMS, INPUTS, OUTPUTS = 4, 3, 5, 2
STATES = {"LSTM": ["h", "c"], "RNN": ["h"]}
KINDS = pytest.mark.parametrize("kind", STATES)


def recurrent(kind, bottoms=("x", "cont"), tops=("y",), more="", settings=""):
    fillers = 'weight_filler { type: "uniform" } bias_filler { type: "uniform" }'
    body = f"recurrent_param {{ num_output: {OUTPUTS} {fillers} {settings} }} {more}"
    return layer("it", kind, list(bottoms), list(tops), body)


def bottoms(steps=STEPS, streams=STREAMS):
    return data(steps, streams, INPUTS, name="x"), data(steps, streams, name="cont")


def conts(passes, steps=STEPS, streams=STREAMS):
    """Indicators that begin sequences here and there, and leave some whole passes without."""
    stream = np.random.RandomState(11)
    return [
        (stream.rand(steps, streams) < (0.7 if i % 2 else 1.1)).astype(int).tolist()
        for i in range(passes)
    ]


def run(what, text, passes, phase="TEST"):
    args = {"prototxt": text, "phase": phase, "passes": passes}
    agree(f"recurrent: {what}", "sequence_passes", args)


@KINDS
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_the_state_is_carried_on_where_cont_is_1(kind, phase):
    text = net(*bottoms(), recurrent(kind), head=FORCED)
    run("state carried on", text, [{"cont": c} for c in conts(5)], phase)


@KINDS
def test_whole_sequences_begin_anew_where_cont_is_0(kind):
    text = net(*bottoms(), recurrent(kind), head=FORCED)
    fresh = [[0] * STREAMS, *[[1] * STREAMS] * (STEPS - 1)]
    run("begun anew", text, [{"cont": fresh}] * 3)


@KINDS
def test_parameters_change_between_passes_while_the_state_stays(kind):
    text = net(*bottoms(), recurrent(kind), head=FORCED)
    run("parameters updated", text, [{"cont": c, "update": 0.1} for c in conts(5)])


@KINDS
def test_streams_come_and_go_as_in_bvlc(kind):
    text = net(*bottoms(), recurrent(kind), head=FORCED)
    passes = []
    for streams in (3, 3, 2, 3, 5, 1, 5):
        cont = np.ones((STEPS, streams), int).tolist()
        passes.append({"cont": cont, "more": {"x": [STEPS, streams, INPUTS]}})
    run("other numbers of streams", text, passes)


@KINDS
def test_one_step_at_a_time_with_the_output_changed_between(kind):
    text = net(*bottoms(1), recurrent(kind), head=FORCED)
    passes = [{"cont": c, "write": "y"} for c in conts(4, 1)]
    run("one step, output overwritten", text, passes)


@pytest.mark.parametrize("steps", [1, 3])
def test_in_place_layers_behind_an_lstm(steps):
    text = net(
        *bottoms(steps),
        recurrent("LSTM"),
        layer("p", "Sigmoid", "y", "y"),
        head=FORCED,
    )
    run("in-place layer behind", text, [{"cont": c} for c in conts(3, steps)])


def test_in_place_layers_behind_an_rnn():
    # Over one step only, BVLC Caffe's gradient takes the changed output for tanh's.
    text = net(
        *bottoms(),
        recurrent("RNN"),
        layer("p", "Sigmoid", "y", "y"),
        head=FORCED,
    )
    run("in-place layer behind", text, [{"cont": c} for c in conts(3)])


@KINDS
@pytest.mark.parametrize("steps", [1, STEPS])
@pytest.mark.parametrize("static", [False, True])
def test_exposed_states_are_given_and_taken(kind, steps, static):
    states = STATES[kind]
    names = ["x", "cont", *(["s"] if static else []), *states]
    text = net(
        *bottoms(steps),
        *([data(STREAMS, 4, name="s")] if static else []),
        *(data(1, STREAMS, OUTPUTS, name=name) for name in states),
        recurrent(kind, names, ["y", *(f"{n}_T" for n in states)], settings="expose_hidden: true"),
        head=FORCED,
    )
    carry = {name: f"{name}_T" for name in states}
    run("exposed states", text, [{"cont": c, "carry": carry} for c in conts(4, steps)])


@KINDS
@pytest.mark.parametrize("more", ["", "propagate_down: false propagate_down: false"])
@pytest.mark.parametrize("rates", ["", "param { lr_mult: 0 } param { lr_mult: 1 }"])
def test_gradients_with_frozen_parameters_and_inputs(kind, more, rates):
    text = net(
        data(STEPS, STREAMS, 3, name="z"),
        data(STEPS, STREAMS, name="cont"),
        data(STEPS, STREAMS, OUTPUTS, name="wanted"),
        ip("x", "z", INPUTS, "").replace("num_output", "axis: 2 num_output"),
        recurrent(kind, more=f"{more} {rates}"),
        layer("loss", "EuclideanLoss", ["y", "wanted"]),
    )
    run("frozen parts", text, [{"cont": c} for c in conts(3)], "TRAIN")


@KINDS
def test_two_layers_in_a_stack_each_keep_a_state(kind):
    text = net(
        *bottoms(),
        recurrent(kind),
        recurrent(kind, ["y", "cont"], ["top"]).replace('"it"', '"upper"'),
        head=FORCED,
    )
    run("a stack of two", text, [{"cont": c} for c in conts(4)])


def test_two_layers_share_their_parameters():
    # In TRAIN, BVLC Caffe leaves the second layer's later steps with weights of their own.
    names = 'param { name: "a" } param { name: "b" } param { name: "c" }'
    text = net(
        *bottoms(),
        recurrent("LSTM", more=names),
        recurrent("LSTM", tops=["other"], more=names).replace('"it"', '"twin"'),
        head=FORCED,
    )
    run("shared parameters", text, [{"cont": c} for c in conts(3)])


def units(*shapes):
    inputs = [data(*dims, name=name) for dims, name in zip(shapes, "abc", strict=True)]
    return net(*inputs, layer("u", "LSTMUnit", ["a", "b", "c"], ["d", "e"]), head=FORCED)


X, CONT = bottoms()
REFUSED = {
    "no outputs": net(X, CONT, recurrent("LSTM").replace(f"num_output: {OUTPUTS}", "")),
    "x without axes of inputs": net(data(4, 3, name="x"), CONT, recurrent("RNN")),
    "no steps": net(*bottoms(0), recurrent("LSTM")),
    "no streams": net(*bottoms(4, 0), recurrent("RNN")),
    "cont of three axes": net(X, data(4, 3, 1, name="cont"), recurrent("LSTM")),
    "cont of other steps": net(X, data(5, 3, name="cont"), recurrent("RNN")),
    "x_static of other streams": net(
        X, CONT, data(4, 5, name="s"), recurrent("LSTM", ["x", "cont", "s"])
    ),
    "x_static without inputs": net(
        X, CONT, data(3, name="s"), recurrent("RNN", ["x", "cont", "s"])
    ),
    "too few exposed states": net(
        X,
        CONT,
        data(1, 3, 2, name="h"),
        recurrent("LSTM", ["x", "cont", "h"], ["y", "p", "q"], settings="expose_hidden: true"),
    ),
    "too few exposed tops": net(
        X,
        CONT,
        data(1, 3, 2, name="h"),
        recurrent("RNN", ["x", "cont", "h"], settings="expose_hidden: true"),
    ),
    "exposed state of another shape": net(
        X,
        CONT,
        data(3, 2, name="h"),
        recurrent("RNN", ["x", "cont", "h"], ["y", "p"], settings="expose_hidden: true"),
    ),
    "indicators that want a gradient": net(
        X,
        data(4, 3, name="before"),
        layer("cont", "Scale", "before"),
        recurrent("LSTM"),
        data(4, 3, 2, name="wanted"),
        layer("loss", "EuclideanLoss", ["y", "wanted"]),
    ),
    "LSTMUnit with another number of gates": units((1, 2, 3), (1, 2, 11), (1, 2)),
    "LSTMUnit over two steps": units((2, 2, 3), (2, 2, 12), (2, 2)),
    "LSTMUnit with cont of three axes": units((1, 2, 3), (1, 2, 12), (1, 2, 1)),
    "LSTMUnit with other streams": units((1, 2, 3), (1, 3, 12), (1, 2)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_both_refuse(what):
    args = {"prototxt": REFUSED[what], "phase": "TRAIN"}
    assert both.both_or_neither("one_net", args) is None, "both accept it"
    report.record("net", "recurrent: refused by both")


@pytest.mark.parametrize("change", [{"x": [5, 3, 5]}, {"x": [4, 3, 6]}, {"s": [2, 4]}])
def test_both_refuse_a_change_of_steps_or_inputs(change):
    text = net(X, CONT, data(3, 4, name="s"), recurrent("LSTM", ["x", "cont", "s"]), head=FORCED)
    cont = np.ones((change.get("x", [4])[0], 3), int).tolist()
    passes = [{"cont": np.ones((4, 3), int).tolist()}, {"cont": cont, "more": change}]
    args = {"prototxt": text, "passes": passes}
    assert both.both_or_neither("sequence_passes", args) is None, "both accept it"
    report.record("net", "recurrent: refused by both")
