"""The VOC train nets, whole, on a small input: every blob and every parameter's gradient.

The input's 29 × 43 pixels and FCN's pad of 100 are what the blobs are made of. On the GPU each
layer runs backward on the CPU's tops: ReLU and max pooling choose between numbers that may differ
by rounding alone, and would choose differently.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe
from prototxt.tasks import TASKS
from tests.conformance.gpu.sides import WHOLE, assert_agree, gpu
from tests.conformance.scenarios.published import small_pass

ROOT = Path(__file__).resolve().parents[3]
SIZE = (29, 43)
LIMIT = 1e-3


def inputs():
    """A picture and a label map with void in it."""
    stream = np.random.RandomState(0)
    label = stream.randint(0, 21, (1, 1, *SIZE)).astype(np.float32)
    label[..., :3, :] = 255
    picture = stream.uniform(-120, 140, (1, 3, *SIZE)).astype(np.float32)
    return {"data": picture, "label": label}


@pytest.mark.skipif(not WHOLE, reason="CONFORMANCE_GPU=emulated runs it without a GPU")
@pytest.mark.parametrize("net", TASKS["voc"].nets)
def test_a_voc_net_agrees(net):
    args = {"net": str(ROOT / "prototxt" / "nets" / "voc" / net / "train.prototxt")}
    caffe.set_mode_cpu()
    expected = small_pass(args, inputs())
    tops = {name: expected.pop(name) for name in list(expected) if name.startswith("top ")}
    with gpu():
        got = small_pass(args, {**inputs(), **tops})
    assert any(np.abs(v).max() > 0 for k, v in expected.items() if k.startswith("gradient "))
    assert_agree(expected, got, LIMIT)
