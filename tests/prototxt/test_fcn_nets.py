"""FCN-32s, -16s, -8s and -8s at once have the FCN reference's names, kernels and crop offsets."""

import pytest

from prototxt.build import net_proto
from prototxt.tasks import TASKS, VOID

CLASSIFIER = ["fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "score_fr"]
FIRST_SKIP = ["score_pool4", "score_pool4c", "fuse_pool4"]
SECOND_SKIP = ["score_pool3", "score_pool3c", "fuse_pool3"]

HEADS = {
    # net: (layers behind fc6 … score_fr, {upsampling: (kernel, stride)}, {crop: offset})
    "fcn32s-vgg16": (["upscore", "score"], {"upscore": (64, 32)}, {"score": 19}),
    "fcn16s-vgg16": (
        ["upscore2", *FIRST_SKIP, "upscore16", "score"],
        {"upscore2": (4, 2), "upscore16": (32, 16)},
        {"score_pool4c": 5, "score": 27},
    ),
    "fcn8s-vgg16": (
        ["upscore2", *FIRST_SKIP, "upscore_pool4", *SECOND_SKIP, "upscore8", "score"],
        {"upscore2": (4, 2), "upscore_pool4": (4, 2), "upscore8": (16, 8)},
        {"score_pool4c": 5, "score_pool3c": 9, "score": 31},
    ),
    "fcn8s-atonce-vgg16": (
        ["upscore2", "scale_pool4", *FIRST_SKIP, "upscore_pool4", "scale_pool3", *SECOND_SKIP,
         "upscore8", "score"],
        {"upscore2": (4, 2), "upscore_pool4": (4, 2), "upscore8": (16, 8)},
        {"score_pool4c": 5, "score_pool3c": 9, "score": 31},
    ),
}  # fmt: skip

net = pytest.mark.parametrize("net", sorted(HEADS))


def layers(net, task="voc"):
    return list(net_proto(TASKS[task], net, "train").layer)


@net
def test_the_head_has_the_references_layers_in_its_order(net):
    names = [layer.name for layer in layers(net)]
    assert names[names.index("pool5") + 1 :] == [*CLASSIFIER, *HEADS[net][0], "loss"]


@net
def test_upsampling_has_the_references_kernels_and_is_fixed(net):
    ups = [layer for layer in layers(net) if layer.type == "Deconvolution"]
    assert {
        up.name: (up.convolution_param.kernel_size[0], up.convolution_param.stride[0]) for up in ups
    } == HEADS[net][1]
    for up in ups:
        assert [p.lr_mult for p in up.param] == [0]
        assert not up.convolution_param.bias_term


@net
def test_crops_have_the_references_offsets(net):
    crops = [layer for layer in layers(net) if layer.type == "Crop"]
    assert {c.name: c.crop_param.offset[0] for c in crops} == HEADS[net][2]
    assert all((c.crop_param.axis, len(c.crop_param.offset)) == (2, 1) for c in crops)


@net
def test_fc6_is_vggs_own_7x7_with_102760448_weights(net):
    fc6 = next(layer for layer in layers(net) if layer.name == "fc6").convolution_param
    assert not fc6.dilation
    assert fc6.num_output * 512 * fc6.kernel_size[0] ** 2 == 102_760_448


@net
def test_only_the_net_trained_at_once_scales_its_skips(net):
    scales = [layer for layer in layers(net) if layer.type == "Scale"]
    found = {s.name: (round(s.scale_param.filler.value, 8), s.bottom[0]) for s in scales}
    expected = {"scale_pool4": (0.01, "pool4"), "scale_pool3": (0.0001, "pool3")}
    assert found == (expected if net == "fcn8s-atonce-vgg16" else {})


@net
def test_dilated_fcn2s_has_the_same_trunk_and_data(net):
    mine, other = layers(net), layers("dilated-fcn2s-vgg16")
    end = [layer.name for layer in mine].index("pool5") + 1
    assert mine[:end] == other[:end]
    assert mine[-1] == other[-1] and mine[-1].loss_param.ignore_label == VOID
