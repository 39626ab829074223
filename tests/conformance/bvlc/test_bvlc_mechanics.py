"""What a net does with its layers: links, splits, phases, sharing, sizes, ranges, constructors."""

from __future__ import annotations

import pytest

from tests.conformance.nets import CLASSIFIER, FORCED, conv, data, ip, layer, net
from tests.conformance.small import LABEL, LOSS, NET_INPUTS, X, agree, labels, values

RULES = net(
    X,
    LABEL,
    conv("always", "data"),
    conv("train_only", "always", more="include { phase: TRAIN }"),
    conv("not_in_test", "always", more="exclude { phase: TEST }"),
    conv("stage_a", "always", more='include { stage: "a" }'),
    conv("not_stage_b", "always", more='exclude { stage: "b" }'),
    conv("needs_not_stage", "always", more='include { phase: TEST not_stage: "a" }'),
    conv("level_1_up", "always", more="include { min_level: 1 }"),
    conv("level_0_to_1", "always", more="include { min_level: 0 max_level: 1 }"),
    conv("either", "always", more='include { phase: TRAIN } include { stage: "b" min_level: 1 }'),
    conv("all_of", "always", more='include { phase: TEST stage: "a" stage: "b" }'),
)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("stages", [[], ["a"], ["a", "b"]])
def test_include_and_exclude_rules_choose_the_same_layers(phase, level, stages):
    args = {"prototxt": RULES, "phase": phase, "level": level, "stages": stages}
    agree("phases, levels, stages", "one_net", args)


def test_a_state_in_the_file_gives_way_to_the_constructors_phase():
    text = 'state { phase: TRAIN level: 1 stage: "b" }\n' + RULES
    for phase in ("TRAIN", "TEST"):
        agree("state in the file", "one_net", {"prototxt": text, "phase": phase})


GRAPHS = {
    "one blob read three times": net(
        X,
        conv("a", "data"),
        conv("b", "a"),
        conv("c", "a"),
        layer("d", "Eltwise", ["b", "c"]),
        conv("e", "a"),
        head=FORCED,
    ),
    "an input read twice": net(
        X, conv("a", "data"), conv("b", "data"), layer("c", "Eltwise", ["a", "b"]), head=FORCED
    ),
    "one blob twice in one layer": net(X, layer("c", "Eltwise", ["data", "data"]), head=FORCED),
    "in-place chain": net(
        X,
        conv("a", "data"),
        layer("r1", "ReLU", "a", "a", "relu_param { negative_slope: 0.1 }"),
        layer("s1", "Scale", "a", "a", "scale_param { bias_term: true }"),
        layer("r2", "ReLU", "a", "a"),
        conv("b", "a"),
        layer("r3", "ReLU", "b", "b"),
        head=FORCED,
    ),
    "in place after a split": net(
        X,
        conv("a", "data"),
        layer("r", "ReLU", "a", "a"),
        conv("b", "a"),
        conv("c", "a"),
        layer("rb", "ReLU", "b", "b"),
        layer("sum", "Eltwise", ["b", "c"]),
        layer("rs", "ReLU", "sum", "sum"),
        head=FORCED,
    ),
    "a blob name used anew": net(
        X, conv("a", "data", top="x"), conv("b", "x", top="y"), conv("c", "data", top="z")
    ),
    "split by hand": net(
        X,
        layer("split", "Split", "data", ["p", "q"]),
        conv("a", "p"),
        layer("sum", "Concat", ["a", "a"]),
        conv("b", "q"),
        head=FORCED,
    ),
    "silenced": net(X, conv("a", "data"), layer("quiet", "Silence", "a", []), conv("b", "data")),
    "loss and accuracy": net(
        X, LABEL, ip("score", "data"), LOSS, layer("acc", "Accuracy", ["score", "label"])
    ),
    "two losses": net(
        X,
        LABEL,
        ip("hidden", "data", 5),
        ip("score", "hidden"),
        LOSS,
        ip("score2", "hidden"),
        layer("loss2", "SoftmaxWithLoss", ["score2", "label"], more="loss_weight: 0.25"),
    ),
    "a loss of weight 0": net(
        X,
        LABEL,
        ip("score", "data"),
        layer("loss", "SoftmaxWithLoss", ["score", "label"], more="loss_weight: 0"),
    ),
    "loss_weight on layers that are no loss": net(
        X,
        conv("a", "data"),
        layer("sum", "Eltwise", ["a", "a"], more="loss_weight: 0.5"),
        ip("b", "a", more="loss_weight: -2"),
    ),
    "loss_weight on a blob that goes on": net(
        X, conv("a", "data", more="loss_weight: 0.5"), ip("b", "a", more="loss_weight: 1")
    ),
    "a branch without a loss": net(
        X, LABEL, ip("hidden", "data", 5), ip("score", "hidden"), LOSS, ip("other", "hidden")
    ),
    "frozen layers": net(
        X,
        LABEL,
        conv("a", "data", more="param { lr_mult: 0 } param { lr_mult: 0 }"),
        conv("b", "a", more="param { lr_mult: 0 } param { lr_mult: 1 }"),
        ip("score", "b"),
        LOSS,
    ),
    "frozen layers, force_backward": net(
        X,
        LABEL,
        conv("a", "data", more="param { lr_mult: 0 } param { lr_mult: 0 }"),
        ip("score", "a"),
        layer("loss", "SoftmaxWithLoss", ["score", "label"]),
        head=FORCED,
    ),
    "propagate_down false": net(
        X,
        LABEL,
        conv("a", "data"),
        conv("b", "a", more="propagate_down: false"),
        ip("score", "b"),
        LOSS,
    ),
    "propagate_down true to an input": net(
        X, LABEL, conv("a", "data", more="propagate_down: true"), ip("score", "a"), LOSS
    ),
    "propagate_down on one of two": net(
        X,
        LABEL,
        conv("a", "data"),
        conv("b", "data"),
        layer("sum", "Eltwise", ["a", "b"], more="propagate_down: true propagate_down: false"),
        ip("score", "sum"),
        LOSS,
    ),
    "parameters that a layer may name": net(
        X,
        LABEL,
        conv("a", "data", more='param { name: "w" } param { name: "b" }'),
        ip("score", "a"),
        LOSS,
    ),
    "DummyData": net(
        layer(
            "dummy",
            "DummyData",
            [],
            ["p", "q"],
            "dummy_data_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } shape { dim: 2 dim: 4 } "
            "data_filler { value: 0.5 } data_filler { value: -2 } }",
        ),
        conv("a", "p"),
        ip("b", "q"),
        head=FORCED,
    ),
    "DummyData of the old form": net(
        layer(
            "dummy",
            "DummyData",
            [],
            ["p", "q"],
            "dummy_data_param { num: 2 channels: 3 height: 4 width: 5 data_filler { value: 1.5 } }",
        ),
        conv("a", "p"),
        conv("b", "q"),
    ),
}


@pytest.mark.parametrize("what", GRAPHS)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_graphs_agree(what, phase):
    text = GRAPHS[what]
    inputs = {k: v for k, v in NET_INPUTS.items() if f'top: "{k}"' in text}
    agree(what, "one_net", {"prototxt": text, "phase": phase}, inputs)


SHARING = {
    "weights and biases": ('param { name: "w" } param { name: "b" }',) * 2,
    "weights only": ('param { name: "w" }', 'param { name: "w" }'),
    "lr_mult given once": (
        'param { name: "w" lr_mult: 2 decay_mult: 0.5 } param { name: "b" }',
        'param { name: "w" } param { name: "b" lr_mult: 3 }',
    ),
    "lr_mult given twice, the same": ('param { name: "w" lr_mult: 2 }',) * 2,
    "lr_mult 0 for both": ('param { name: "w" lr_mult: 0 }',) * 2,
}


@pytest.mark.parametrize("how", SHARING)
def test_parameters_shared_by_name_agree(how):
    first, second = SHARING[how]
    text = net(
        data(2, 5),
        LABEL,
        ip("a", "data", 5, first),
        ip("b", "a", 5, second),
        ip("score", "b"),
        LOSS,
    )
    inputs = {"data": values(2, 5), "label": labels(2)}
    agree("parameters shared by name", "shared_parameters", {"prototxt": text}, inputs)
    for solver in (["momentum: 0.9", "weight_decay: 0.01"], ["clip_gradients: 0.1"]):
        lines = ["base_lr: 0.05", 'lr_policy: "fixed"', *solver]
        args = {"prototxt": text, "solver": lines, "steps": 5}
        agree("training with shared parameters", "training", args)


def test_parameters_of_another_shape_are_shared_where_share_mode_is_permissive():
    text = net(
        data(2, 6),
        ip("a", "data", 4, 'param { name: "w" }'),
        data(2, 3, name="other"),
        ip("b", "other", 8, 'param { name: "w" share_mode: PERMISSIVE }'),
    )
    agree("share_mode: PERMISSIVE", "one_net", {"prototxt": text, "phase": "TEST"})


RESHAPED = net(
    X,
    conv("a", "data"),
    layer("r", "ReLU", "a", "a"),
    layer("p", "Pooling", "a", more="pooling_param { kernel_size: 2 stride: 2 }"),
    layer(
        "u",
        "Deconvolution",
        "p",
        more="convolution_param { num_output: 2 kernel_size: 4 stride: 2 bias_term: false }",
    ),
    layer("c", "Crop", ["u", "a"], more="crop_param { axis: 2 }"),
    layer("s", "Softmax", "c"),
    head=FORCED,
)


@pytest.mark.parametrize("reshape_first", [True, False])
def test_inputs_that_change_size_agree(reshape_first):
    sizes = [[1, 3, 6, 6], [2, 3, 9, 7], [1, 3, 5, 5], [3, 3, 6, 10], [1, 3, 5, 5]]
    args = {"prototxt": RESHAPED, "sizes": sizes, "reshape_first": reshape_first}
    agree("inputs that change size", "inputs_that_change_size", args)


def test_gradients_add_up_until_they_are_cleared():
    inputs = {"data": values(4, 2, 8, 8), "label": labels(4)}
    args = {"prototxt": CLASSIFIER, "phase": "TRAIN"}
    agree("gradients add up", "accumulated_gradients", args, inputs)
    split = GRAPHS["one blob read three times"]
    inputs = {"data": NET_INPUTS["data"]}
    agree("gradients add up", "accumulated_gradients", {"prototxt": split}, inputs)


def test_ranges_of_layers_agree():
    args = {
        "prototxt": RESHAPED,
        "forward": [
            [None, "r", "data", ["a"]],
            ["p", "c", "a", []],
            ["u", None, "p", None],
            ["p", "p", "a", ["data"]],
        ],
        "backward": [["s", "c", ["c"]], ["c", "p", []], ["p", None, None], [None, "a", ["u"]]],
    }
    agree("forward and backward over ranges", "ranges", args, {"data": NET_INPUTS["data"]})


def test_keyword_calls_agree():
    args = {"prototxt": RESHAPED, "blobs": ["a", "p"]}
    agree("forward(data=...), forward_all", "keyword_calls", args)


LEGACY = {
    "input and input_dim": 'input: "data" input_dim: 2 input_dim: 3 input_dim: 6 input_dim: 6',
    "input and input_shape": 'input: "data" input_shape { dim: 2 dim: 3 dim: 6 dim: 6 }',
    "two inputs, input_dim": 'input: "data" input: "more" '
    + " ".join(f"input_dim: {d}" for d in (2, 3, 6, 6, 2, 3, 4, 4)),
    "two inputs, input_shape": 'input: "data" input_shape { dim: 2 dim: 3 dim: 6 dim: 6 } '
    'input: "more" input_shape { dim: 2 dim: 7 }',
}


@pytest.mark.parametrize("how", LEGACY)
def test_legacy_input_fields_agree(how):
    tail = [conv("b", "more", 2)] if "input_dim: 4" in LEGACY[how] else []
    text = net(conv("a", "data"), *tail, head=LEGACY[how] + " force_backward: true")
    agree("legacy input fields", "one_net", {"prototxt": text}, {"data": NET_INPUTS["data"]})


V1 = """
input: "data" input_dim: 2 input_dim: 3 input_dim: 6 input_dim: 6
layers { name: "a" type: CONVOLUTION bottom: "data" top: "a" blobs_lr: 1 blobs_lr: 2
         weight_decay: 1 weight_decay: 0 convolution_param { num_output: 3 kernel_size: 3 } }
layers { name: "r" type: RELU bottom: "a" top: "a" }
layers { name: "p" type: POOLING bottom: "a" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
layers { name: "fc" type: INNER_PRODUCT bottom: "p" top: "fc" param: "w" param: "b"
         inner_product_param { num_output: 4 } }
layers { name: "d" type: DROPOUT bottom: "fc" top: "fc" dropout_param { dropout_ratio: 0.5 }
         include { phase: TEST } }
layers { name: "prob" type: SOFTMAX bottom: "fc" top: "prob" }
"""


def test_the_v1_format_agrees():
    agree("V1 layers", "one_net", {"prototxt": V1}, {"data": NET_INPUTS["data"]})


def test_constructors_agree():
    text = GRAPHS["loss and accuracy"]
    agree("Net's constructors", "constructors", {"prototxt": text})
