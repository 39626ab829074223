"""What the paper prints of time and memory (Kamran & Sabbir 2018, tables 1 and 6)."""

from __future__ import annotations

SECONDS = {"fcn8s-vgg16": 0.5, "dilated-fcn2s-vgg16": 0.2, "dilated-fcn2s-vgg19": 0.2}
"""Net: seconds of a forward and a backward pass (table 1, which has one figure for both Dilated
FCN-2s)."""

MEMORY = {
    # net: MB of training, of training + testing (table 6)
    "fcn8s-vgg16": (3759, 4649),
    "dilated-fcn2s-vgg16": (3093, 4101),
    "dilated-fcn2s-vgg19": (3367, 4509),
}
CARDS = "NVIDIA GTX 1060 and 1070"
