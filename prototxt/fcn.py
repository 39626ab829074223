"""FCN-32s, FCN-16s, FCN-8s, and FCN-8s trained at once (Shelhamer, Long, Darrell 2017, 4.2).

Section 3.5 of Kamran & Sabbir 2018 compares with them.
"""

from __future__ import annotations


def fcn32s(net, depth):
    """No skips: scores at stride 32, upsampled at once."""
    net.trunk(depth)
    net.classifier(kernel_size=7)
    x = net.coarse()
    x = net.upsample("upscore", x, by=32)
    net.pixels(x)


def fcn16s(net, depth):
    """One skip, from pool4."""
    net.trunk(depth)
    net.classifier(kernel_size=7)
    x = net.coarse()
    x = net.upsample("upscore2", x)
    x = net.fuse(x, net.skip("pool4"), "pool4")
    x = net.upsample("upscore16", x, by=16)
    net.pixels(x)


def fcn8s(net, depth, scale4=None, scale3=None):
    """Two skips, from pool4 and pool3."""
    net.trunk(depth)
    net.classifier(kernel_size=7)
    x = net.coarse()
    x = net.upsample("upscore2", x)
    x = net.fuse(x, net.skip("pool4", scale4), "pool4")
    x = net.upsample("upscore_pool4", x)
    x = net.fuse(x, net.skip("pool3", scale3), "pool3")
    x = net.upsample("upscore8", x, by=8)
    net.pixels(x)


def fcn8s_at_once(net, depth):
    """FCN-8s whose skips are scaled, so that it need not be trained in stages."""
    fcn8s(net, depth, *net.task.skip_scales[:2])
