"""The generated VOC nets, whole, on a real photograph: every blob, every diff, every gradient.

The measure is max|ours - theirs| / max|theirs| per blob. Each side's blobs come of a forward pass
of its own. For the diffs both sides run backward on the same blobs, BVLC Caffe's: ReLU and max
pooling choose between numbers that may differ by rounding alone, all the more in the wide padded
border, and would choose differently on another processor.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.conformance import both, pictures, report

NETS = both.REPO / "prototxt" / "nets" / "voc"
DEPTHS = ("dilated-fcn2s-vgg16", "dilated-fcn2s-vgg19")
OFFSETS = {
    "score_pool4c": 5,
    "score_pool3c": 9,
    "score_pool2c": 17,
    "score_pool1c": 33,
    "score": 34,
}
LIMIT = 1e-4
CHANGE_LIMIT = 1e-2
THREADS = 2


@pytest.fixture(scope="module")
def photo(real_data):
    return pictures.blobs(*pictures.quarter(*pictures.photograph(real_data)))


@pytest.fixture(scope="module", params=DEPTHS)
def weights(request, photo, tmp_path_factory):
    """(net's name, folder with net.prototxt and w.caffemodel made by BVLC Caffe)."""
    folder = tmp_path_factory.mktemp(request.param)
    args = {
        "net": str(NETS / request.param / "train.prototxt"),
        "folder": str(folder),
        "shape": list(photo["data"].shape),
        "with_weights": True,
    }
    both.run("bvlc", "published_net", args, threads=THREADS, timeout=300)
    yield request.param, folder
    for file in folder.iterdir():
        file.unlink()


def one_after_the_other(scenario, args, arrays=None):
    """Both sides' results; a full net of each at once would need twice the memory."""
    return both.one_after_the_other(scenario, args, arrays, timeout=600, threads=THREADS)


def check(what, theirs, ours):
    """Compare two passes; record each kind of array by itself."""
    report.record_parts("published nets", f"{what}: ", both.compare(theirs, ours, LIMIT))


def test_train_agrees_forward_and_backward(weights, photo):
    name, folder = weights
    args = {"file": str(folder / "net.prototxt"), "weights": str(folder / "w.caffemodel")}
    args.update(phase="TRAIN", backward=True)
    theirs, ours = one_after_the_other("published_pass", args, photo)
    # The comparison means something: every score counts, every layer learns.
    learns = [k for k in theirs if k.startswith("gradient ") and np.abs(theirs[k]).max() > 0]
    assert len(learns) == 2 * (len(theirs["params"]) - 9)
    check(f"{name} TRAIN", theirs, ours)


@pytest.mark.parametrize("which", ["val", "deploy"])
def test_test_agrees_forward(weights, which, photo, tmp_path):
    name, folder = weights
    args = {"net": str(NETS / name / f"{which}.prototxt"), "folder": str(tmp_path)}
    both.run("bvlc", "published_net", dict(args, shape=list(photo["data"].shape)))
    args = {"file": str(tmp_path / "net.prototxt"), "weights": str(folder / "w.caffemodel")}
    args.update(phase="TEST", backward=False)
    check(f"{name} {which}", *one_after_the_other("published_pass", args, photo))


@pytest.mark.parametrize("name", DEPTHS)
def test_the_crop_offsets_are_the_published_ones(name):
    for file in ("train", "val", "deploy"):
        args = {"net": str(NETS / name / f"{file}.prototxt")}
        theirs, ours = both.run_both("crop_offsets", args)
        assert theirs == ours == OFFSETS


def test_twenty_iterations_agree(weights, real_data, tmp_path):
    name, folder = weights
    if name != DEPTHS[0]:
        pytest.skip("20 iterations are run for VGG-16 only: a minute and a half each")
    pictures.write_voc(tmp_path / "voc", real_data)
    param_str = {"voc_dir": str(tmp_path / "voc"), "split": "train", "mean": pictures.MEAN}
    args = {"net": str(NETS / name / "train.prototxt"), "folder": str(tmp_path)}
    args["param_str"] = str(dict(param_str, seed=1337, randomize=True))
    both.run("bvlc", "published_net", args)
    solver = tmp_path / "solver.prototxt"
    lines = (NETS / name / "solver.prototxt").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("train_net", "test_", "snapshot"))]
    solver.write_text("\n".join([f'train_net: "{tmp_path}/net.prototxt"', *kept]) + "\n")
    args = {"solver_file": str(solver), "weights": str(folder / "w.caffemodel"), "steps": 20}
    theirs, ours = one_after_the_other("published_training", args)
    assert len({tuple(size) for size in theirs["sizes"]}) == 2
    changes = [k for k in theirs if k.startswith("change")]
    # In norm: a ReLU's bottom that is 0 but for rounding passes its gradient on one side only.
    norms = {k: both.norm_error(theirs[k], ours[k]) for k in changes if k.endswith("[0]")}
    report.record("published nets", f"{name}: weights' change in 20 iterations, in norm", norms)
    assert max(norms.values()) <= CHANGE_LIMIT, max(norms.items(), key=lambda item: item[1])
    for change in set(changes) - set(norms):
        # With the published rate a bias of 0.1 moves by some tens of its own rounding steps.
        step = np.spacing(np.abs(theirs["param" + change[9:]]).max())
        allowed = CHANGE_LIMIT * np.abs(theirs[change]).max() + 4 * step
        assert np.abs(ours[change] - theirs[change]).max() <= allowed, change
    kept = [{k: v for k, v in one.items() if k not in changes} for one in (theirs, ours)]
    errors = both.compare(*kept, LIMIT)
    report.record("published nets", f"{name}: parameters after 20 iterations", errors)
