"""Dilated FCN-2s as generated has the published layers, names, parameters and crop offsets."""

import numpy as np
import pytest

from prototxt.build import net_proto
from prototxt.tasks import TASKS

DEPTHS = {"dilated-fcn2s-vgg16": (2, 2, 3, 3, 3), "dilated-fcn2s-vgg19": (2, 2, 4, 4, 4)}
SKIPS = (("pool4", 0.01), ("pool3", 0.0001), ("pool2", 1e-6), ("pool1", 1e-8))

net = pytest.mark.parametrize("net", sorted(DEPTHS))


def layers(net, phase="train", task="voc"):
    return list(net_proto(TASKS[task], net, phase).layer)


def layer_with_top(made, top):
    """The first layer that makes `top` (not one that changes it in place)."""
    return next(layer for layer in made if top in layer.top)


def expected_trunk_and_classifier(counts):
    names = []
    for stage, count in enumerate(counts, start=1):
        for index in range(1, count + 1):
            names += [f"conv{stage}_{index}", f"relu{stage}_{index}"]
        names.append(f"pool{stage}")
    return names + ["fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "score_fr", "upscore2"]


def expected_skips():
    names = []
    for (pool, _), up in zip(
        SKIPS, ("upscore_pool4", "upscore_pool3", "upscore_pool2", "upscore_2")
    ):
        names += [f"scale_{pool}", f"score_{pool}", "Cropping", "fuse", up]
    return names


@net
def test_layers_have_the_published_names_in_the_order_of_the_figure(net):
    inner = expected_trunk_and_classifier(DEPTHS[net]) + expected_skips() + ["score"]
    assert [layer.name for layer in layers(net, "train")] == ["data", *inner, "loss"]
    assert [layer.name for layer in layers(net, "val")] == ["data", *inner, "loss"]
    assert [layer.name for layer in layers(net, "deploy")] == ["data", *inner]


@net
def test_blobs_have_the_published_names_and_every_bottom_is_made_before_it_is_read(net):
    made = layers(net)
    seen = set()
    for layer in made:
        assert set(layer.bottom) <= seen, layer.name
        seen |= set(layer.top)
    skips = {f"{kind}_{pool}" for pool, _ in SKIPS for kind in ("scale", "score", "fuse")}
    skips |= {f"score_{pool}c" for pool, _ in SKIPS}
    assert skips | {"data", "label", "score", "loss", "upscore_2"} <= seen


@net
def test_crop_offsets_are_5_9_17_33_34(net):
    crops = [layer for layer in layers(net) if layer.type == "Crop"]
    assert [list(c.crop_param.offset) for c in crops] == [[5], [9], [17], [33], [34]]
    assert [c.crop_param.axis for c in crops] == [2] * 5
    assert [list(c.bottom) for c in crops] == [
        ["score_pool4", "upscore2"],
        ["score_pool3", "upscore_pool4"],
        ["score_pool2", "upscore_pool3"],
        ["score_pool1", "upscore_pool2"],
        ["upscore_2", "data"],
    ]


@net
def test_only_conv1_1_is_padded_by_100(net):
    for layer in layers(net):
        if layer.name.startswith("conv"):
            convolution = layer.convolution_param
            assert list(convolution.pad) == [100 if layer.name == "conv1_1" else 1]
            assert list(convolution.kernel_size) == [3]
            assert list(convolution.stride) == [1]


@net
def test_fc6_is_3x3_with_dilation_3_and_has_18874368_weights(net):
    made = layers(net)
    fc6 = layer_with_top(made, "fc6").convolution_param
    below = max(
        (layer for layer in made if layer.name.startswith("conv5_")), key=lambda layer: layer.name
    )
    (kernel,) = fc6.kernel_size
    assert (kernel, list(fc6.dilation), list(fc6.pad)) == (3, [3], [0])
    assert fc6.num_output * below.convolution_param.num_output * kernel**2 == 18_874_368


def learned_parameters(made):
    """Weights and biases up to score_fr, from the chain of convolutions."""
    total, channels = 0, 3
    for layer in made:
        if layer.type == "Convolution":
            (kernel,) = layer.convolution_param.kernel_size
            outputs = layer.convolution_param.num_output
            total += outputs * channels * kernel**2 + outputs
            channels = outputs
        if layer.name == "score_fr":
            return total


@pytest.mark.parametrize(
    ("net", "millions"), [("dilated-fcn2s-vgg16", 50.5), ("dilated-fcn2s-vgg19", 55.8)]
)
def test_the_net_has_the_published_number_of_learned_parameters(net, millions):
    assert round(learned_parameters(layers(net)) / 1e6, 1) == millions


@net
def test_learned_convolutions_use_fcn_multipliers_and_no_filler(net):
    for layer in layers(net):
        if layer.type == "Convolution":
            assert [(p.lr_mult, p.decay_mult) for p in layer.param] == [(1, 1), (2, 0)]
            assert not layer.convolution_param.HasField("weight_filler")
            assert not layer.convolution_param.HasField("bias_filler")


@net
def test_upsampling_and_scaling_are_fixed(net):
    made = layers(net)
    ups = [layer for layer in made if layer.type == "Deconvolution"]
    scales = [layer for layer in made if layer.type == "Scale"]
    assert len(ups) == 5
    for layer in ups + scales:
        assert [p.lr_mult for p in layer.param] == [0]
    for up in ups:
        convolution = up.convolution_param
        assert "up" in up.name
        assert (list(convolution.kernel_size), list(convolution.stride)) == ([4], [2])
        assert (convolution.num_output, convolution.bias_term) == (21, False)
    assert [layer.name for layer in scales] == [f"scale_{pool}" for pool, _ in SKIPS]
    for layer, (_, value) in zip(scales, SKIPS):
        assert layer.scale_param.filler.type == "constant"
        assert np.float32(layer.scale_param.filler.value) == np.float32(value)
        assert not layer.scale_param.bias_term


@net
def test_relu_and_dropout_work_in_place(net):
    for layer in layers(net):
        if layer.type in ("ReLU", "Dropout"):
            assert list(layer.top) == list(layer.bottom)
        if layer.type == "Dropout":
            assert layer.dropout_param.dropout_ratio == 0.5


@net
def test_the_loss_sums_over_pixels_and_ignores_void(net):
    loss = layers(net)[-1]
    assert (loss.type, list(loss.bottom)) == ("SoftmaxWithLoss", ["score", "label"])
    assert loss.loss_param.ignore_label == 255
    assert loss.loss_param.HasField("normalize") and not loss.loss_param.normalize


def test_a_deploy_net_has_an_input_of_one_500x500_image():
    data = layers("dilated-fcn2s-vgg16", "deploy")[0]
    assert (data.type, list(data.top)) == ("Input", ["data"])
    assert list(data.input_param.shape[0].dim) == [1, 3, 500, 500]
