"""The activations' cases for test_layers_on_gpu.py."""

from __future__ import annotations

IMAGE = (2, 4, 5, 6)
LOG = "log_param { base: 2 scale: 0.1 shift: 10 }"
EXP = "exp_param { base: 2 scale: 0.5 shift: 1 }"
CLIP = "clip_param { min: -1 max: 2 }"
SHARED = "prelu_param { channel_shared: true }"
IN_PLACE = {"in_place": True}

CASES = [
    ("AbsVal", "", [IMAGE], {}),
    *[
        (kind, body, [IMAGE], more)
        for more in ({}, IN_PLACE)
        for kind, body in (
            ("BNLL", ""), ("Clip", CLIP), ("ELU", ""), ("ELU", "elu_param { alpha: -1 }"),
            ("Exp", EXP), ("Log", LOG), ("PReLU", ""), ("PReLU", SHARED),
            ("Swish", "swish_param { beta: 2 }"), ("Threshold", "threshold_param { threshold: 1 }"),
        )
    ],
]  # fmt: skip
