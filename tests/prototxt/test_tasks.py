"""Every task's nets: classes, data, inputs, how streams meet, and what they start from."""

import ast

import pytest

from prototxt.build import NETS, PHASES, net_proto, schedule
from prototxt.tasks import CONTEXT_CLASSES, NYUD_CLASSES, TASKS, VOC_CLASSES, VOC_MEAN

PAIRS = [(task.name, net) for task in TASKS.values() for net in task.nets]
pairs = pytest.mark.parametrize(("task", "net"), PAIRS, ids=["/".join(p) for p in PAIRS])


def layers(task, net="dilated-fcn2s-vgg16", phase="train"):
    return list(net_proto(TASKS[task], net, phase).layer)


def by_name(made):
    return {layer.name: layer for layer in made}


def test_every_public_task_and_net_is_there():
    assert list(TASKS) == [
        "voc", "sbd", "pascal-context", "nyud-rgb", "nyud-hha", "nyud-rgbd", "nyud-rgb-hha",
    ]  # fmt: skip
    assert set(NETS) == {net for task in TASKS.values() for net in task.nets}
    assert all(
        {"dilated-fcn2s-vgg16", "dilated-fcn2s-vgg19", "fcn32s-vgg16"} <= set(task.nets)
        for task in TASKS.values()
    )


@pytest.mark.parametrize(
    ("names", "count", "some"),
    [
        (VOC_CLASSES, 21, {0: "background", 15: "person", 20: "tvmonitor"}),
        (CONTEXT_CLASSES, 60, {0: "background", 11: "diningtable", 21: "bag", 28: "clothes",
                               52: "bedcloth", 59: "wood"}),
        (NYUD_CLASSES, 40, {0: "wall", 1: "floor", 21: "ceiling", 39: "otherprop"}),
    ],
)  # fmt: skip
def test_class_lists_have_the_published_names_and_places(names, count, some):
    assert len(names) == len(set(names)) == count
    assert {index: names[index] for index in some} == some


@pairs
@pytest.mark.parametrize("phase", PHASES)
def test_every_score_has_one_channel_per_class(task, net, phase):
    for layer in layers(task, net, phase):
        if layer.type in ("Convolution", "Deconvolution") and "score" in layer.name:
            assert layer.convolution_param.num_output == len(TASKS[task].classes), layer.name


@pytest.mark.parametrize(
    ("task", "phase", "module", "layer", "parameters"),
    [
        ("voc", "train", "voc_layers", "VOCSegDataLayer",
         {"voc_dir": "data/voc", "split": "train", "mean": VOC_MEAN}),
        ("voc", "val", "voc_layers", "VOCSegDataLayer",
         {"voc_dir": "data/voc", "split": "seg12val", "mean": VOC_MEAN}),
        ("sbd", "train", "voc_layers", "SBDDSegDataLayer",
         {"sbdd_dir": "data/sbd", "split": "trainval", "mean": VOC_MEAN}),
        ("sbd", "val", "voc_layers", "VOCSegDataLayer",
         {"voc_dir": "data/voc", "split": "seg12val", "mean": VOC_MEAN}),
        ("pascal-context", "train", "pascalcontext_layers", "PASCALContextSegDataLayer",
         {"voc_dir": "data/pascal", "context_dir": "data/pascal-context", "split": "train",
          "mean": VOC_MEAN}),
        ("nyud-hha", "val", "nyud_layers", "NYUDSegDataLayer",
         {"nyud_dir": "data/nyud", "tops": ["hha", "label"], "split": "test"}),
        ("nyud-rgbd", "train", "nyud_layers", "NYUDSegDataLayer",
         {"nyud_dir": "data/nyud", "tops": ["color", "depth", "label"], "split": "trainval"}),
    ],
)  # fmt: skip
def test_the_data_layer_gets_folders_split_and_seed(task, phase, module, layer, parameters):
    data = layers(task, phase=phase)[0].python_param
    assert (data.module, data.layer) == (module, layer)
    assert ast.literal_eval(data.param_str) == {**parameters, "seed": 1337}


def test_another_data_root_moves_every_folder():
    data = net_proto(TASKS["pascal-context"], "fcn32s-vgg16", "train", "/big").layer[0]
    given = ast.literal_eval(data.python_param.param_str)
    assert (given["voc_dir"], given["context_dir"]) == ("/big/pascal", "/big/pascal-context")


def test_early_fusion_concatenates_colour_and_depth_for_conv1_1_bgrd():
    made = layers("nyud-rgbd", "fcn32s-vgg16")
    assert list(made[0].top) == ["color", "depth", "label"]
    assert (made[1].type, list(made[1].bottom), list(made[1].top)) == (
        "Concat", ["color", "depth"], ["data"]
    )  # fmt: skip
    assert [layer.name for layer in made[2:5]] == ["conv1_1_bgrd", "relu1_1", "conv1_2"]
    assert list(by_name(made)["score"].bottom) == ["upscore", "data"]
    deploy = layers("nyud-rgbd", "fcn32s-vgg16", "deploy")
    assert [list(layer.input_param.shape[0].dim) for layer in deploy[:2]] == [
        [1, 3, 500, 500], [1, 1, 500, 500]
    ]  # fmt: skip


def test_late_fusion_averages_the_scores_of_two_suffixed_streams():
    made = layers("nyud-rgb-hha", "fcn32s-vgg16")
    found = by_name(made)
    assert list(made[0].top) == ["color", "hha", "label"]
    for suffix in ("color", "hha"):
        assert list(found["conv1_1" + suffix].bottom) == [suffix]
        assert {f"{n}{suffix}" for n in ("relu1_1", "pool5", "fc6", "drop7", "score_fr")} <= set(
            found
        )
    fused = found["score_fused"]
    assert list(fused.bottom) == ["score_frcolor", "score_frhha"]
    assert list(fused.eltwise_param.coeff) == [0.5, 0.5]
    assert list(found["upscore"].bottom) == ["score_fused"]
    assert list(found["score"].bottom) == ["upscore", "color"]


def test_late_fusion_of_dilated_fcn2s_averages_every_skip():
    found = by_name(layers("nyud-rgb-hha"))
    for pool in ("pool4", "pool3", "pool2", "pool1"):
        fused = found[f"score_{pool}_fused"]
        assert list(fused.bottom) == [f"score_{pool}color", f"score_{pool}hha"]
        assert list(found[f"scale_{pool}hha"].bottom) == [f"{pool}hha"]


@pairs
def test_every_net_starts_from_vgg_or_from_nets_that_are_generated(task, net):
    starts = TASKS[task].starts.get(net, ())
    assert all(before in TASKS[name].nets for name, before, _ in starts)
    if net in ("fcn16s-vgg16", "fcn8s-vgg16"):
        before = {"fcn16s-vgg16": "fcn32s-vgg16", "fcn8s-vgg16": "fcn16s-vgg16"}[net]
        assert starts == ((task, before, ""),)


def test_the_second_stage_on_sbd_goes_on_from_voc():
    for net in ("dilated-fcn2s-vgg16", "dilated-fcn2s-vgg19"):
        assert TASKS["sbd"].starts[net] == (("voc", net, ""),)
    assert "fcn32s-vgg16" not in TASKS["sbd"].starts


@pytest.mark.parametrize(
    ("task", "net", "base_lr", "iterations"),
    [
        ("voc", "dilated-fcn2s-vgg19", 1e-10, 100000),
        ("sbd", "dilated-fcn2s-vgg16", 1e-10, 200000),
        ("pascal-context", "dilated-fcn2s-vgg16", 1e-9, 300000),
        ("nyud-rgb", "dilated-fcn2s-vgg19", 1e-9, 150000),
        ("voc", "fcn32s-vgg16", 1e-10, 100000),
        ("voc", "fcn16s-vgg16", 1e-12, 100000),
        ("sbd", "fcn8s-vgg16", 1e-14, 100000),
        ("sbd", "fcn8s-atonce-vgg16", 1e-10, 300000),
        ("pascal-context", "fcn8s-vgg16", 1e-14, 300000),
        ("nyud-hha", "fcn32s-vgg16", 1e-10, 300000),
        ("nyud-rgb-hha", "fcn32s-vgg16", 1e-12, 300000),
    ],
)
def test_schedules_are_the_papers_and_the_references(task, net, base_lr, iterations):
    found = schedule(TASKS[task], net)
    assert (found.base_lr, found.iterations) == (pytest.approx(base_lr), iterations)
    assert (found.momentum, found.weight_decay) == (0.99, 0.0005)
