"""Dilated FCN-2s: a dilated fc6, and scores fused with those of pool4, pool3, pool2 and pool1.

Every upsampling is by 2; the skips' fixed scales even out the norms of the pools' features.
"""

from __future__ import annotations

from caffe import layers as L
from caffe import params as P
from caffe.coord_map import crop
from prototxt.vgg import conv_relu, learned

SKIPS = (
    # pool, layer that upsamples the fused scores
    ("pool4", "upscore_pool4"),
    ("pool3", "upscore_pool3"),
    ("pool2", "upscore_pool2"),
    ("pool1", "upscore_2"),
)

STAGES = ("fc6", "fc7")
"""What `freeze` may name here, beside the trunk's stages."""

SECTIONS = {
    "fc6": "VGG's classifier, convolutional: fc6 keeps 3x3 of its 7x7 taps, 3 apart",
    "score_fr": "scores at stride 32, upsampled to 16",
    "score": "scores of every pixel of the image",
    "loss": "summed over all pixels that are not void",
}
SECTIONS.update({f"scale_{pool}": f"skip from {pool}" for pool, _ in SKIPS})


def score_layer(bottom, task):
    """1×1 convolution to one score per class."""
    convolution = dict(num_output=len(task.classes), pad=0, kernel_size=1)
    if task.score_filler:
        convolution["weight_filler"] = dict(task.score_filler)
    return L.Convolution(bottom, param=learned(lr_mult=task.score_lr_mult), **convolution)


def upsample(bottom, task):
    """Fixed upsampling by 2. Surgery fills in the bilinear weights: Caffe's default is 0."""
    return L.Deconvolution(
        bottom,
        param=dict(lr_mult=0),
        convolution_param=dict(
            num_output=len(task.classes), bias_term=False, kernel_size=4, stride=2
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


def head(n, data, task):
    """Add fc6 … score to the NetSpec `n`, whose trunk reads `data`; returns the top `score`.

    `score` is 1 × classes × H × W, H × W being `data`'s.
    """
    n.fc6, n.relu6 = conv_relu(n.pool5, 4096, pad=0, dilation=3, frozen="fc6" in task.freeze)
    n.drop6 = L.Dropout(n.relu6, dropout_ratio=task.dropout, in_place=True)
    n.fc7, n.relu7 = conv_relu(n.drop6, 4096, pad=0, kernel_size=1, frozen="fc7" in task.freeze)
    n.drop7 = L.Dropout(n.relu7, dropout_ratio=task.dropout, in_place=True)

    n.score_fr = score_layer(n.drop7, task)
    n.upscore2 = up = upsample(n.score_fr, task)

    for (pool, upscore), scale in zip(SKIPS, task.skip_scales):
        # The published nets call all four crops "Cropping" and all four sums "fuse".
        scaled = L.Scale(
            n[pool],
            param=dict(lr_mult=0),
            filler=dict(type="constant", value=scale),
        )
        n[f"scale_{pool}"] = scaled
        n[f"score_{pool}"] = score = score_layer(scaled, task)
        n[f"score_{pool}c"] = cropped = crop_to(score, up, name="Cropping")
        n[f"fuse_{pool}"] = fused = L.Eltwise(up, cropped, name="fuse", operation=P.Eltwise.SUM)
        n[upscore] = up = upsample(fused, task)

    n.score = crop_to(up, data)
    return n.score
