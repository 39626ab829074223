"""The parts that FCNs are built of: trunk, classifier, scores, skips, upsampling, pixels.

`prototxt.fcn` and `prototxt.dilated_fcn2s` put them together, one line a step. Every layer has the
name that the published nets give it, so that published weights load.
"""

from __future__ import annotations

import caffe
from caffe import layers as L, params as P
from caffe.coord_map import crop
from prototxt.tasks import BANDS

CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Depth of VGG → convolutions in each of its five stages."""

CHANNELS = (64, 128, 256, 512, 512)
"""Outputs of the convolutions of each stage."""

FIRST_PAD = 100
"""Pad of conv1_1: keeps fc6's output from vanishing on small images (FCN's choice)."""

FIRST_LAYER = {"early": "conv1_1_bgrd", BANDS: "conv1_1_bands"}
"""`Task.fusion` → the first layer, where it reads other channels than VGG's."""

POOLS = ("pool4", "pool3", "pool2", "pool1")
"""Where skips can start, in the order in which they are fused."""

STAGES = (*(f"conv{stage}" for stage in range(1, 6)), "fc6", "fc7")
"""What `Task.freeze` may name."""


def learned(frozen=False, lr_mult=1):
    """`param` entries (weights, bias) of a convolution: FCN's multipliers, or 0 if frozen."""
    if frozen:
        return [dict(lr_mult=0, decay_mult=0), dict(lr_mult=0, decay_mult=0)]
    return [dict(lr_mult=lr_mult, decay_mult=1), dict(lr_mult=2 * lr_mult, decay_mult=0)]


def filled(filler):
    """The `weight_filler` entry of a convolution; none where the filler is empty."""
    return {"weight_filler": dict(filler)} if filler else {}


def streams(task):
    """(input top, suffix of the layers' names, first layer) of each trunk that a task's nets have.

    The first layer has a name of its own where it reads another number of channels than VGG's.
    """
    if task.fusion == "late":
        return [(blob, blob, "conv1_1") for blob, _ in task.inputs]
    return [("data", "", FIRST_LAYER.get(task.fusion, "conv1_1"))]


class Net:
    """A net in the making, for a `Task`: each method adds one part's layers.

    Parts that score return their top, N × classes × h × w. A task that fuses late has a trunk for
    each of its inputs: trunk, classifier and score layers are made once for each of them (their
    names end in the input's name), and the inputs' scores are averaged.
    """

    def __init__(self, task):
        self.task = task
        self.tops = caffe.NetSpec()
        self.streams = streams(task)
        self.comments = {}
        """Layer → the comment above it in the net's file."""

    def comment(self, layer, words, suffix=""):
        self.comments[layer + suffix] = f"{words} of {suffix}" if suffix else words

    def trunk(self, depth):
        """The five stages of VGG-16 or VGG-19 (`depth`), conv1_1 … pool5. Pooling rounds up."""
        for top, suffix, first in self.streams:
            x = self.tops[top]
            for stage, count in enumerate(CONVOLUTIONS[depth], start=1):
                x = self._stage(stage, count, x, suffix, first)

    def _stage(self, stage, count, x, suffix, first):
        names = [f"{stage}_{index}" for index in range(1, count + 1)]
        for name in names:
            layer = first if name == "1_1" else f"conv{name}"
            if name == names[0]:
                self.comment(layer, f"VGG stage {stage}", suffix)
            x = self._conv_relu(
                layer + suffix,
                f"relu{name}{suffix}",
                x,
                param=learned(f"conv{stage}" in self.task.freeze),
                num_output=CHANNELS[stage - 1],
                pad=FIRST_PAD if name == "1_1" else 1,
                kernel_size=3,
            )
        pool = f"pool{stage}{suffix}"
        self.tops[pool] = L.Pooling(x, pool=P.Pooling.MAX, kernel_size=2, stride=2)
        return self.tops[pool]

    def _conv_relu(self, conv, relu, x, **convolution):
        """Convolution of stride 1 and its in-place ReLU."""
        self.tops[conv] = L.Convolution(x, stride=1, **convolution)
        self.tops[relu] = L.ReLU(self.tops[conv], in_place=True)
        return self.tops[relu]

    def classifier(self, kernel_size, dilation=1):
        """VGG's fc6 (of the given kernel) and fc7 as convolutions, each with ReLU and dropout."""
        taps = f"{kernel_size}x{kernel_size}"
        fc6 = f"keeps {taps} of its 7x7 taps, {dilation} apart" if dilation > 1 else f"is {taps}"
        spread = {"dilation": dilation} if dilation > 1 else {}
        for _, suffix, _ in self.streams:
            of = f" of {suffix}" if suffix else ""
            self.comment("fc6" + suffix, f"VGG's classifier{of}, convolutional: fc6 {fc6}")
            x = self._dropped("6", self.tops["pool5" + suffix], suffix, kernel_size, **spread)
            self._dropped("7", x, suffix, kernel_size=1)

    def _dropped(self, number, x, suffix, kernel_size, **convolution):
        """fc6 or fc7, its ReLU and its dropout."""
        x = self._conv_relu(
            f"fc{number}{suffix}",
            f"relu{number}{suffix}",
            x,
            param=learned(f"fc{number}" in self.task.freeze, self.task.fc_lr_mult),
            num_output=self.task.fc_outputs,
            **filled(self.task.fc_filler),
            pad=0,
            kernel_size=kernel_size,
            **convolution,
        )
        drop = f"drop{number}{suffix}"
        self.tops[drop] = L.Dropout(x, dropout_ratio=self.task.dropout, in_place=True)
        return self.tops[drop]

    def coarse(self):
        """Scores at stride 32, one for each class."""
        for _, suffix, _ in self.streams:
            self.comment("score_fr", "scores at stride 32", suffix)
            self.tops["score_fr" + suffix] = self._score(self.tops["drop7" + suffix])
        if len(self.streams) > 1:
            self.comment("score_fused", "late fusion: the mean of the streams' scores")
        return self._mean("score_fr", "score_fused")

    def skip(self, pool, scale=None):
        """Scores on a pool. A fixed `scale` evens out the norm of its features."""
        for _, suffix, _ in self.streams:
            x = self.tops[pool + suffix]
            self.comment(
                f"score_{pool}" if scale is None else f"scale_{pool}", f"skip from {pool}", suffix
            )
            if scale is not None:
                filler = dict(type="constant", value=scale)
                x = L.Scale(x, param=dict(lr_mult=0), filler=filler)
                self.tops[f"scale_{pool}{suffix}"] = x
            self.tops[f"score_{pool}{suffix}"] = self._score(x)
        return self._mean(f"score_{pool}", f"score_{pool}_fused")

    def _score(self, x):
        """1×1 convolution to one score for each class."""
        task = self.task
        return L.Convolution(
            x,
            param=learned(lr_mult=task.score_lr_mult),
            num_output=len(task.classes),
            pad=0,
            kernel_size=1,
            **filled(task.score_filler),
        )

    def _mean(self, layer, name):
        """The mean, as `name`, of what `layer` gives for each stream; of one stream, just that."""
        tops = [self.tops[layer + suffix] for _, suffix, _ in self.streams]
        if len(tops) == 1:
            return tops[0]
        self.tops[name] = L.Eltwise(
            *tops, operation=P.Eltwise.SUM, coeff=[1.0 / len(tops)] * len(tops)
        )
        return self.tops[name]

    def upsample(self, name, x, by=2):
        """Fixed upsampling. Surgery fills in the bilinear weights: Caffe's default is 0."""
        self.tops[name] = L.Deconvolution(
            x,
            param=dict(lr_mult=0),
            convolution_param=dict(
                num_output=len(self.task.classes), bias_term=False, kernel_size=2 * by, stride=by
            ),
        )
        return self.tops[name]

    def fuse(self, x, skip, pool, crop_name=None, sum_name=None):
        """The sum of `x` and the scores `skip` on a pool, these cropped to `x`.

        The two layers have their tops' names, or the given ones.
        """
        cropped, fused = f"score_{pool}c", f"fuse_{pool}"
        self.tops[cropped] = self._crop(skip, x, **({"name": crop_name} if crop_name else {}))
        self.tops[fused] = L.Eltwise(
            x,
            self.tops[cropped],
            operation=P.Eltwise.SUM,
            **({"name": sum_name} if sum_name else {}),
        )
        return self.tops[fused]

    def pixels(self, x):
        """`score`: the scores `x` cropped to the image, so that each pixel of it has its own."""
        self.comment("score", "scores of every pixel of the image")
        self.tops.score = self._crop(x, self.tops[self.streams[0][0]])

    def _crop(self, x, reference, **name):
        """`x` cropped to `reference`; the offset is what Caffe's coordinate mapping gives."""
        place = crop(x, reference).fn.params["crop_param"]
        offset = [int(each) for each in place["offset"]]
        return L.Crop(x, reference, crop_param=dict(axis=int(place["axis"]), offset=offset), **name)
