"""The head of an FCN: VGG's classifier as convolutions, scores, skips, upsampling to pixels.

What sets the nets of the family apart is a `Head`; `prototxt.fcn` and `prototxt.dilated_fcn2s`
hold them.
"""

from __future__ import annotations

from dataclasses import dataclass

from caffe import layers as L
from caffe import params as P
from caffe.coord_map import crop
from prototxt.vgg import conv_relu, learned

STAGES = ("fc6", "fc7")
"""What `freeze` may name here, beside the trunk's stages."""

FEATURES = 4096
"""Outputs of fc6 and fc7."""

POOLS = ("pool4", "pool3", "pool2", "pool1")
"""Where skips start, in the order in which they are fused."""


@dataclass(frozen=True)
class Head:
    """One family's choices. Every skip's scores are summed with those upsampled by 2 so far."""

    kernel_size: int
    """Of fc6."""
    dilation: int
    """Of fc6."""
    skips: int
    """How many of POOLS are fused."""
    last: str
    """Name of the layer that upsamples the fused scores to the image's pixels."""
    scaled: bool
    """Whether a fixed Scale evens out the norm of a skip's features (training all at once)."""
    crop_name: str | None = None
    """Name of the skips' Crop layers, where it is not their top's."""
    fuse_name: str | None = None
    """Name of the skips' Eltwise layers, where it is not their top's."""

    @property
    def stride(self):
        """Of the last upsampling: 32 halved by every skip."""
        return 32 >> self.skips


def sections(head, streams=("",)):
    """Layer → the comment above it in the net file."""
    taps = head.kernel_size
    dilated = f" keeps {taps}x{taps} of its 7x7 taps, {head.dilation} apart"
    made = {}
    for suffix in streams:
        of = f" of {suffix}" if suffix else ""
        kept = dilated if head.dilation > 1 else f" is {taps}x{taps}"
        made["fc6" + suffix] = f"VGG's classifier{of}, convolutional: fc6{kept}"
        made["score_fr" + suffix] = f"scores at stride 32{of}"
        for pool in POOLS[: head.skips]:
            start = ("scale_" if head.scaled else "score_") + pool + suffix
            made[start] = f"skip from {pool}{of}"
    if len(streams) > 1:
        made["score_fused"] = "late fusion: the mean of the streams' scores"
    made["score"] = "scores of every pixel of the image"
    return made


def classifier(n, head, task, suffix=""):
    """fc6, fc7, each with ReLU and dropout, on pool5; tops end with drop7."""

    def place(name):
        return name + suffix

    n[place("fc6")], n[place("relu6")] = conv_relu(
        n[place("pool5")],
        FEATURES,
        pad=0,
        kernel_size=head.kernel_size,
        frozen="fc6" in task.freeze,
        **({"dilation": head.dilation} if head.dilation > 1 else {}),
    )
    n[place("drop6")] = L.Dropout(n[place("relu6")], dropout_ratio=task.dropout, in_place=True)
    n[place("fc7")], n[place("relu7")] = conv_relu(
        n[place("drop6")], FEATURES, pad=0, kernel_size=1, frozen="fc7" in task.freeze
    )
    n[place("drop7")] = L.Dropout(n[place("relu7")], dropout_ratio=task.dropout, in_place=True)


def score_layer(bottom, task):
    """1×1 convolution to one score per class."""
    convolution = dict(num_output=len(task.classes), pad=0, kernel_size=1)
    if task.score_filler:
        convolution["weight_filler"] = dict(task.score_filler)
    return L.Convolution(bottom, param=learned(lr_mult=task.score_lr_mult), **convolution)


def upsample(bottom, task, stride=2):
    """Fixed upsampling by `stride`. Surgery fills in the bilinear weights: Caffe's default is 0."""
    return L.Deconvolution(
        bottom,
        param=dict(lr_mult=0),
        convolution_param=dict(
            num_output=len(task.classes), bias_term=False, kernel_size=2 * stride, stride=stride
        ),
    )


def crop_to(top, reference, **keywords):
    """Crop `top` to `reference`, the offset being what Caffe's coordinate mapping gives."""
    place = crop(top, reference).fn.params["crop_param"]
    return L.Crop(
        top,
        reference,
        crop_param=dict(axis=int(place["axis"]), offset=[int(o) for o in place["offset"]]),
        **keywords,
    )


def fused(n, name, tops):
    """The mean of the streams' scores under `name`; of one stream, its scores."""
    if len(tops) == 1:
        return tops[0]
    share = 1.0 / len(tops)
    n[name] = L.Eltwise(*tops, operation=P.Eltwise.SUM, coeff=[share] * len(tops))
    return n[name]


def coarse_scores(n, task, streams):
    """Scores at stride 32, of all streams."""
    for suffix in streams:
        n["score_fr" + suffix] = score_layer(n["drop7" + suffix], task)
    return fused(n, "score_fused", [n["score_fr" + suffix] for suffix in streams])


def skip_scores(n, head, task, streams, pool, scale):
    """Scores on a pool, of all streams."""
    for suffix in streams:
        features = n[pool + suffix]
        if head.scaled:
            features = n[f"scale_{pool}{suffix}"] = L.Scale(
                features, param=dict(lr_mult=0), filler=dict(type="constant", value=scale)
            )
        n[f"score_{pool}{suffix}"] = score_layer(features, task)
    return fused(n, f"score_{pool}_fused", [n[f"score_{pool}{suffix}"] for suffix in streams])


def add(n, head, data, task, streams=("",)):
    """Add fc6 … score to the NetSpec `n`, whose trunks (one per suffix in `streams`) end in pool5.

    `data` is the top that `score` is cropped to: `score` is 1 × classes × H × W, H × W being
    `data`'s.
    """

    def named(name):
        return {} if name is None else {"name": name}

    for suffix in streams:
        classifier(n, head, task, suffix)
    scores, upscore = coarse_scores(n, task, streams), "upscore2"
    for pool, scale in zip(POOLS[: head.skips], task.skip_scales):
        n[upscore] = up = upsample(scores, task)
        skip = skip_scores(n, head, task, streams, pool, scale)
        n[f"score_{pool}c"] = cropped = crop_to(skip, up, **named(head.crop_name))
        n[f"fuse_{pool}"] = scores = L.Eltwise(
            up, cropped, operation=P.Eltwise.SUM, **named(head.fuse_name)
        )
        upscore = f"upscore_{pool}"
    n[head.last] = up = upsample(scores, task, head.stride)
    n.score = crop_to(up, data)
