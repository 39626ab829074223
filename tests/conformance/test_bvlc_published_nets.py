"""The generated VOC nets, whole, on a real photograph: every blob and every parameter gradient.

The measure is max|ours - theirs| / max|theirs| per blob. One kind of number is reported and not
bounded: the diffs of blobs before a max pooling. A pad of 100 makes large areas where all values
are equal but for rounding; which of them max pooling takes is chance, and their gradient goes to
that place. The parameters' gradients sum over places, and agree. With average pooling in the same
net, where there is nothing to choose, the diffs are bounded too.
"""

from __future__ import annotations

import both
import numpy as np
import pictures
import pytest
import report

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
    kwargs = {"args": args, "arrays": arrays, "threads": THREADS, "timeout": 600}
    return [both.run(side, scenario, **kwargs) for side in both.SIDES]


def before_a_pooling(results):
    """The names of the blobs whose gradient comes through a max pooling."""
    tainted = set()
    for layer, kind in reversed(list(zip(results["layers"], results["types"], strict=True))):
        if kind == "Pooling" or tainted & set(results["tops"][layer]):
            tainted |= set(results["bottoms"][layer])
    return tainted


def check(what, theirs, ours, unbounded=()):
    """Compare two passes; record each kind of array by itself."""
    loose = [name for name in theirs if name.partition(" ")[2] in unbounded and "diff " in name]
    kept = [{k: v for k, v in one.items() if k not in loose} for one in (theirs, ours)]
    for part, prefix in (("blobs", "data "), ("gradients", "gradient "), ("diffs", "diff ")):
        some = [k for k in kept[0] if k.startswith(prefix)]
        if some:
            maxima = {k: both.relative_error(theirs[k], ours[k]) for k in some}
            norms = {k: both.norm_error(theirs[k], ours[k]) for k in some}
            report.record("published nets", f"{what}: {part}", maxima)
            report.record("published nets", f"{what}: {part}, in norm", norms)
    if loose:
        norms = {k: both.norm_error(theirs[k], ours[k]) for k in loose}
        report.record("published nets", f"{what}: diffs before poolings, in norm (no limit)", norms)
    both.compare(*kept, LIMIT)


def test_train_agrees_forward_and_backward(weights, photo):
    name, folder = weights
    args = {"file": str(folder / "net.prototxt"), "weights": str(folder / "w.caffemodel")}
    args.update(phase="TRAIN", backward=True)
    theirs, ours = one_after_the_other("published_pass", args, photo)
    # The comparison means something: every score counts, every layer learns.
    learns = [k for k in theirs if k.startswith("gradient ") and np.abs(theirs[k]).max() > 0]
    assert len(learns) == 2 * (len(theirs["params"]) - 9)
    check(f"{name} TRAIN", theirs, ours, before_a_pooling(theirs))


def test_every_diff_agrees_where_pooling_has_no_choice(weights, photo, tmp_path):
    name, folder = weights
    if name != DEPTHS[0]:
        pytest.skip("run for VGG-16 only")
    text = (folder / "net.prototxt").read_text()
    assert text.count("pool: MAX") == 5
    (tmp_path / "net.prototxt").write_text(text.replace("pool: MAX", "pool: AVE"))
    args = {"file": str(tmp_path / "net.prototxt"), "weights": str(folder / "w.caffemodel")}
    args.update(phase="TRAIN", backward=True)
    theirs, ours = one_after_the_other("published_pass", args, photo)
    # In norm: a ReLU whose bottom is 0 but for rounding passes its gradient in one only.
    diffs = [k for k in theirs if k.startswith("diff ")]
    norms = {k: both.norm_error(theirs[k], ours[k]) for k in diffs}
    report.record("published nets", f"{name} with average pooling: diffs, in norm", norms)
    assert max(norms.values()) < 1e-2, max(norms.items(), key=lambda item: item[1])


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
    for change in changes:
        # With the published rate a bias of 0.1 moves by some tens of its own rounding steps.
        step = np.spacing(np.abs(theirs["param" + change[9:]]).max())
        allowed = 1e-3 * np.abs(theirs[change]).max() + 4 * step
        assert np.abs(ours[change] - theirs[change]).max() <= allowed, change
    norms = {k: both.norm_error(theirs[k], ours[k]) for k in changes}
    report.record("published nets", f"{name}: change in 20 iterations, in norm", norms)
    kept = [{k: v for k, v in one.items() if k not in changes} for one in (theirs, ours)]
    errors = both.compare(*kept, LIMIT)
    report.record("published nets", f"{name}: parameters after 20 iterations", errors)
