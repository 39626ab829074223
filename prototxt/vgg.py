"""The trunk: VGG-16 and VGG-19's five stages of 3×3 convolutions, under VGG's own layer names."""

from __future__ import annotations

from caffe import layers as L
from caffe import params as P

CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Depth of VGG → convolutions in each stage."""

CHANNELS = (64, 128, 256, 512, 512)

FIRST_PAD = 100
"""Pad of conv1_1: keeps fc6's output from vanishing on small images (FCN's choice)."""

STAGES = tuple(f"conv{s}" for s in range(1, 6))
"""What `freeze` may name here."""


def sections(suffix="", first="conv1_1"):
    """Layer → the comment above it in the net file; arguments as of `trunk`."""
    stream = f" of {suffix}" if suffix else ""
    names = [first, *(f"conv{s}_1" for s in range(2, 6))]
    return {name + suffix: f"VGG stage {s}{stream}" for s, name in enumerate(names, start=1)}


def learned(frozen=False, lr_mult=1):
    """`param` entries (weights, bias) of a convolution: FCN's multipliers, or 0 if frozen."""
    if frozen:
        return [dict(lr_mult=0, decay_mult=0), dict(lr_mult=0, decay_mult=0)]
    return [dict(lr_mult=lr_mult, decay_mult=1), dict(lr_mult=2 * lr_mult, decay_mult=0)]


def conv_relu(bottom, num_output, *, kernel_size=3, pad=1, frozen=False, **convolution):
    """Stride 1 convolution and its in-place ReLU, as two tops."""
    conv = L.Convolution(
        bottom,
        param=learned(frozen),
        num_output=num_output,
        pad=pad,
        kernel_size=kernel_size,
        stride=1,
        **convolution,
    )
    return conv, L.ReLU(conv, in_place=True)


def trunk(n, data, depth, freeze=(), suffix="", first="conv1_1"):
    """Add conv1_1 … pool5 to the NetSpec `n`, reading the top `data`.

    `depth` is 16 or 19; `freeze` names stages (of STAGES) whose weights stay; `suffix` is behind
    every layer's name (nets of several streams); `first` names the first layer (of another number
    of input channels, its weights are other ones). Pooling halves, rounding up.
    """
    bottom = data
    for stage, (count, channels) in enumerate(zip(CONVOLUTIONS[depth], CHANNELS), start=1):
        for index in range(1, count + 1):
            opening = stage == index == 1
            conv, bottom = conv_relu(
                bottom,
                channels,
                pad=FIRST_PAD if opening else 1,
                frozen=f"conv{stage}" in freeze,
            )
            n[(first if opening else f"conv{stage}_{index}") + suffix] = conv
            n[f"relu{stage}_{index}{suffix}"] = bottom
        bottom = L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=2, stride=2)
        n[f"pool{stage}{suffix}"] = bottom
