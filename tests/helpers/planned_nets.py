"""Small nets to plan for, that have what the large ones have."""

from __future__ import annotations

from tests.helpers.net_texts import data, layer


def conv(name, bottom, outputs, kernel=3, more="pad: 1", top=None, params=""):
    filler = 'weight_filler { type: "gaussian" std: 0.1 }'
    more = f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} {more} {filler} }}"
    return layer(name, "Convolution", bottom, top, more + params)


def relu(blob):
    return layer(f"relu_{blob}", "ReLU", blob, blob)


def pool(name, bottom):
    return layer(name, "Pooling", bottom, more="pooling_param { kernel_size: 2 stride: 2 }")


def segmenting(side=96, channels=32, classes=5, dropout=True):
    """A trunk with a wide padding, dilation, dropout, a skip and a fixed upsampling."""
    up = (
        f"convolution_param {{ num_output: {classes} kernel_size: 4 stride: 2 bias_term: false "
        'weight_filler { type: "bilinear" } } param { lr_mult: 0 }'
    )
    crop = "crop_param { axis: 2 offset: 1 }"
    return (
        'name: "segmenting" '
        + data(1, 3, side, side)
        + data(1, 1, side, side, name="label")
        + conv("conv1_1", "data", channels, more="pad: 20")
        + relu("conv1_1")
        + conv("conv1_2", "conv1_1", channels)
        + relu("conv1_2")
        + pool("pool1", "conv1_2")
        + conv("conv2_1", "pool1", 2 * channels, more="pad: 2 dilation: 2")
        + relu("conv2_1")
        + (layer("drop", "Dropout", "conv2_1", "conv2_1") if dropout else "")
        + conv("score_2", "conv2_1", classes, 1, "")
        + layer("up", "Deconvolution", "score_2", more=up)
        + layer("crop", "Crop", ["up", "data"], more=crop)
        + conv("score_1", "conv1_2", classes, 1, "")
        + layer("skip", "Crop", ["score_1", "data"], more=crop)
        + layer("score", "Eltwise", ["crop", "skip"])
        + layer("loss", "SoftmaxWithLoss", ["score", "label"])
    )


def plain(side=64):
    """Normalisations, an inner product, several losses of one blob."""
    return (
        'name: "plain" '
        + data(2, 8, side, side)
        + data(2, name="label")
        + conv("conv1", "data", 24)
        + layer("norm", "BatchNorm", "conv1", "norm")
        + layer("scale", "Scale", "norm", "norm", "scale_param { bias_term: true }")
        + relu("norm")
        + layer("lrn", "LRN", "norm")
        + pool("pool", "lrn")
        + layer(
            "ip", "InnerProduct", "pool",
            more='inner_product_param { num_output: 10 weight_filler { type: "xavier" } }',
        )
        + layer("loss", "SoftmaxWithLoss", ["ip", "label"])
        + layer("accuracy", "Accuracy", ["ip", "label"])
    )  # fmt: skip


NETS = {"segmenting": segmenting, "plain": plain}
