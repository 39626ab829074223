"""Well-known nets, as their papers and Caffe's own examples have them, written with NetSpec.

Each is a function of `deploy`: False gives the net that is trained and scored (labels, a loss,
accuracies in TEST), True the one that only answers. Either reads its images from an Input layer.
Both sides build every net with their own caffe: only `import caffe`, Python >= 3.9.
"""

from __future__ import annotations

import caffe
from caffe import layers as L, params as P
from caffe.coord_map import crop

BATCH = 2
RATES = [{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0}]
LRN = {"local_size": 5, "alpha": 1e-4, "beta": 0.75}

CONVOLUTIONS = (
    (96, 11, 4, 0, 1),
    (256, 5, 1, 2, 2),
    (384, 3, 1, 1, 1),
    (384, 3, 1, 1, 2),
    (256, 3, 1, 1, 2),
)
"""conv1 to conv5 of AlexNet: outputs, kernel, stride, pad, groups (Krizhevsky et al. 2012; the
groups are the halves on its two GPUs)."""

INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""GoogLeNet's modules: outputs of 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool's projection
(Szegedy et al. 2015, table 1)."""

AUXILIARY = {"4a": "loss1", "4d": "loss2"}
"""The modules whose outputs GoogLeNet's two auxiliary classifiers take."""


def inputs(deploy, size, label):
    """A NetSpec with `data`, BATCH images of size x size, and unless `deploy` a `label`."""
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [BATCH, 3, size, size]})
    if not deploy:
        n.label = L.Input(shape={"dim": [BATCH, *label]})
    return n


def fillers(bias, kind="gaussian", **more):
    return {
        "weight_filler": {"type": kind, **more},
        "bias_filler": {"type": "constant", "value": bias},
    }


def relu(n, name, bottom):
    n[name] = L.ReLU(bottom, in_place=True)
    return n[name]


def dropout(n, name, bottom, ratio):
    n[name] = L.Dropout(bottom, dropout_ratio=ratio, in_place=True)
    return n[name]


def max_pool(n, name, bottom, **more):
    """Windows of 3 in steps of 2: they overlap (section 3.4 of AlexNet's paper)."""
    n[name] = L.Pooling(bottom, pool=P.Pooling.MAX, **{"kernel_size": 3, "stride": 2, **more})
    return n[name]


def norm(n, name, bottom):
    n[name] = L.LRN(bottom, **LRN)
    return n[name]


def five_convolutions(n, norm_first, bias, first_pad=0):
    """conv1 to pool5. `norm_first`: normalized, then pooled, as in AlexNet's paper; otherwise
    CaffeNet's order, which normalizes a quarter of the numbers. `bias` is where the paper has
    ones."""
    top = n.data
    for i, (outputs, kernel, stride, pad, group) in enumerate(CONVOLUTIONS, 1):
        n[f"conv{i}"] = L.Convolution(
            top, num_output=outputs, kernel_size=kernel, stride=stride, group=group,
            pad=first_pad if i == 1 else pad, param=RATES,
            **fillers(bias if i in (2, 4, 5) else 0, std=0.01),
        )  # fmt: skip
        top = relu(n, f"relu{i}", n[f"conv{i}"])
        if i in (1, 2):
            for step in (norm, max_pool) if norm_first else (max_pool, norm):
                top = step(n, ("norm" if step is norm else "pool") + str(i), top)
    return max_pool(n, "pool5", top)


def two_hidden_layers(n, top, bias):
    for i in (6, 7):
        n[f"fc{i}"] = L.InnerProduct(top, num_output=4096, param=RATES, **fillers(bias, std=0.005))
        top = dropout(n, f"drop{i}", relu(n, f"relu{i}", n[f"fc{i}"]), 0.5)
    return top


def classify(n, scores, deploy):
    """`prob`, or the loss and in TEST the accuracy."""
    if deploy:
        n.prob = L.Softmax(scores)
    else:
        n.accuracy = L.Accuracy(scores, n.label, include={"phase": caffe.TEST})
        n.loss = L.SoftmaxWithLoss(scores, n.label)


def eight_layers(deploy, norm_first, bias):
    n = inputs(deploy, 227, [])
    top = two_hidden_layers(n, five_convolutions(n, norm_first, bias), bias)
    n.fc8 = L.InnerProduct(top, num_output=1000, param=RATES, **fillers(0, std=0.01))
    classify(n, n.fc8, deploy)
    return n.to_proto()


def alexnet(deploy):
    """Krizhevsky et al. 2012, as Caffe's example has it: biases of 0.1 for the paper's ones."""
    return eight_layers(deploy, norm_first=True, bias=0.1)


def caffenet(deploy):
    """Caffe's reference net (Jia et al. 2014): AlexNet with pooling before normalization."""
    return eight_layers(deploy, norm_first=False, bias=1)


def rcnn_ilsvrc13(deploy):
    """R-CNN on ILSVRC13's 200 detection classes (Girshick et al. 2014): CaffeNet with one linear
    SVM per class on fc7, as one layer; answers are scores, not probabilities.

    The paper trains the SVMs outside Caffe; the net with a loss has their hinge loss."""
    n = inputs(deploy, 227, [])
    top = two_hidden_layers(n, five_convolutions(n, norm_first=False, bias=1), bias=1)
    n["fc-rcnn"] = L.InnerProduct(top, num_output=200, param=RATES, **fillers(0, std=0.01))
    if not deploy:
        n.loss = L.HingeLoss(n["fc-rcnn"], n.label)
    return n.to_proto()


def fcn32s_alexnet(deploy):
    """FCN-32s on CaffeNet for VOC's 21 classes (Long et al. 2015): its hidden layers as
    convolutions, a pad of 100 so that small images have an output, upsampled bilinearly by 32."""
    n = inputs(deploy, 227, [1, 227, 227])
    top = five_convolutions(n, norm_first=False, bias=1, first_pad=100)
    for i, kernel in ((6, 6), (7, 1)):
        n[f"fc{i}"] = L.Convolution(top, num_output=4096, kernel_size=kernel, param=RATES)
        top = dropout(n, f"drop{i}", relu(n, f"relu{i}", n[f"fc{i}"]), 0.5)
    n.score_fr = L.Convolution(top, num_output=21, kernel_size=1, param=RATES)
    up = {"num_output": 21, "kernel_size": 63, "stride": 32, "bias_term": False}
    n.upscore = L.Deconvolution(n.score_fr, convolution_param=up, param=[{"lr_mult": 0}])
    n.score = crop(n.upscore, n.data)
    if not deploy:
        ignore = {"ignore_label": 255, "normalize": True}
        n.loss = L.SoftmaxWithLoss(n.score, n.label, loss_param=ignore)
    return n.to_proto()


def conv_relu(n, prefix, kind, bottom, outputs, kernel, **more):
    """GoogLeNet's naming: `prefix/kind`, rectified by `prefix/relu_kind`."""
    n[f"{prefix}/{kind}"] = L.Convolution(
        bottom,
        num_output=outputs,
        kernel_size=kernel,
        param=RATES,
        **fillers(0.2, "xavier"),
        **more,
    )
    return relu(n, f"{prefix}/relu_{kind}", n[f"{prefix}/{kind}"])


def inception(n, name, bottom):
    """1x1, 3x3 and 5x5 convolutions and a max pool side by side, each but the first behind or
    before a 1x1 convolution that reduces the channels."""
    one, reduce3, three, reduce5, five, projected = INCEPTIONS[name]
    prefix = f"inception_{name}"
    tops = [conv_relu(n, prefix, "1x1", bottom, one, 1)]
    for size, reduced, outputs in ((3, reduce3, three), (5, reduce5, five)):
        kind = f"{size}x{size}"
        top = conv_relu(n, prefix, f"{kind}_reduce", bottom, reduced, 1)
        tops.append(conv_relu(n, prefix, kind, top, outputs, size, pad=size // 2))
    top = max_pool(n, f"{prefix}/pool", bottom, stride=1, pad=1)
    tops.append(conv_relu(n, prefix, "pool_proj", top, projected, 1))
    n[f"{prefix}/output"] = L.Concat(*tops)
    return n[f"{prefix}/output"]


def googlenet_loss(n, name, top, weight):
    """A classifier with its loss, and in TEST the share of images right at once, or in five."""
    n[f"{name}/classifier"] = L.InnerProduct(
        top, num_output=1000, param=RATES, **fillers(0, "xavier")
    )
    scores = n[f"{name}/classifier"]
    n[f"{name}/loss"] = L.SoftmaxWithLoss(scores, n.label, loss_weight=weight)
    for best in (1, 5):
        n[f"{name}/top-{best}"] = L.Accuracy(
            scores, n.label, top_k=best, include={"phase": caffe.TEST}
        )


def auxiliary_classifier(n, name, bottom):
    """Section 5 of GoogLeNet's paper: average pool to 4x4, 128 channels, 1024 hidden units,
    dropout of 0.7, and a loss that counts 0.3."""
    n[f"{name}/ave_pool"] = L.Pooling(bottom, pool=P.Pooling.AVE, kernel_size=5, stride=3)
    top = conv_relu(n, name, "conv", n[f"{name}/ave_pool"], 128, 1)
    n[f"{name}/fc"] = L.InnerProduct(top, num_output=1024, param=RATES, **fillers(0.2, "xavier"))
    top = relu(n, f"{name}/relu_fc", n[f"{name}/fc"])
    googlenet_loss(n, name, dropout(n, f"{name}/drop_fc", top, 0.7), 0.3)


def googlenet_stem(n):
    """The layers below the first inception module."""
    top = conv_relu(n, "conv1", "7x7_s2", n.data, 64, 7, stride=2, pad=3)
    top = norm(n, "pool1/norm1", max_pool(n, "pool1/3x3_s2", top))
    top = conv_relu(n, "conv2", "3x3_reduce", top, 64, 1)
    top = norm(n, "conv2/norm2", conv_relu(n, "conv2", "3x3", top, 192, 3, pad=1))
    return max_pool(n, "pool2/3x3_s2", top)


def googlenet(deploy):
    """Szegedy et al. 2015; its auxiliary classifiers are there for training only."""
    n = inputs(deploy, 224, [])
    top = googlenet_stem(n)
    for name in INCEPTIONS:
        top = inception(n, name, top)
        if name in AUXILIARY and not deploy:
            auxiliary_classifier(n, AUXILIARY[name], top)
        if name in ("3b", "4e"):
            top = max_pool(n, f"pool{name[0]}/3x3_s2", top)
    n["pool5/7x7_s1"] = L.Pooling(top, pool=P.Pooling.AVE, kernel_size=7, stride=1)
    top = dropout(n, "pool5/drop_7x7_s1", n["pool5/7x7_s1"], 0.4)
    if deploy:
        n["loss3/classifier"] = L.InnerProduct(top, num_output=1000, param=RATES)
        n.prob = L.Softmax(n["loss3/classifier"])
    else:
        googlenet_loss(n, "loss3", top, 1)
    return n.to_proto()


MODELS = {
    one.__name__: one for one in (alexnet, caffenet, googlenet, rcnn_ilsvrc13, fcn32s_alexnet)
}
