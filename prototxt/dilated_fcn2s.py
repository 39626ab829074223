"""Dilated FCN-2s (Kamran & Sabbir 2018, section 3 and figure 1)."""

from __future__ import annotations

# The published nets call each crop "Cropping", each sum "fuse" and the last upsampling "upscore_2".
NAMES = dict(crop_name="Cropping", sum_name="fuse")


def dilated_fcn2s(net, depth):
    """A dilated fc6 on VGG-16 or VGG-19 (`depth`), then four skips, upsampling by 2 at a time."""
    scale4, scale3, scale2, scale1 = net.task.skip_scales
    net.trunk(depth)  # 3.1  VGG without its classifier: conv1_1 … pool5
    net.classifier(kernel_size=3, dilation=3)  # 3.3  fc6 dilated, with 3×3 weights in place of 7×7
    x = net.coarse()  # 3.1  scores at stride 32
    x = net.upsample("upscore2", x)  # 3.4  by 2, bilinear, fixed
    x = net.fuse(x, net.skip("pool4", scale4), "pool4", **NAMES)  # 3.5  scaled, scored, summed
    x = net.upsample("upscore_pool4", x)
    x = net.fuse(x, net.skip("pool3", scale3), "pool3", **NAMES)
    x = net.upsample("upscore_pool3", x)
    x = net.fuse(x, net.skip("pool2", scale2), "pool2", **NAMES)
    x = net.upsample("upscore_pool2", x)
    x = net.fuse(x, net.skip("pool1", scale1), "pool1", **NAMES)
    x = net.upsample("upscore_2", x)
    net.pixels(x)  # scores at stride 1, as large as the image
