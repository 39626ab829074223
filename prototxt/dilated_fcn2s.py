"""Dilated FCN-2s: a dilated fc6, and scores fused with those of pool4, pool3, pool2 and pool1.

Every upsampling is by 2; the skips' fixed scales even out the norms of the pools' features
(Kamran & Sabbir 2018, section 3).
"""

from __future__ import annotations

from prototxt.head import Head

# The published nets call their crops "Cropping", their sums "fuse" and the last upsampling
# "upscore_2".
DILATED_FCN2S = Head(
    kernel_size=3,
    dilation=3,
    skips=4,
    last="upscore_2",
    scaled=True,
    crop_name="Cropping",
    fuse_name="fuse",
)
