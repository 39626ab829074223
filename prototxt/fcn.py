"""FCN-32s, FCN-16s, FCN-8s, and FCN-8s trained at once (Shelhamer, Long, Darrell 2017, 4.2)."""

from __future__ import annotations

from prototxt.head import Head

FCN32S = Head(kernel_size=7, dilation=1, skips=0, last="upscore", scaled=False)
FCN16S = Head(kernel_size=7, dilation=1, skips=1, last="upscore16", scaled=False)
FCN8S = Head(kernel_size=7, dilation=1, skips=2, last="upscore8", scaled=False)
FCN8S_AT_ONCE = Head(kernel_size=7, dilation=1, skips=2, last="upscore8", scaled=True)
