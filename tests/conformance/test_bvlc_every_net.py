"""Every task's every net, as generated: loaded by both, and run forward and backward.

Images are small (FCN's pad of 100 is what remains), so the blobs are those of the whole net on few
pixels. Every blob is compared in full; of parameters' gradients with more than a million numbers,
every 101st and the rows' sums of squares.

Max pooling chooses between candidates that in the padded border differ by rounding only; on so few
pixels, one that goes another way shows in the gradients. Their bound with it is loose and in norm;
the close one is with average pooling in its place, where there is nothing to choose.
"""

from __future__ import annotations

import both
import numpy as np
import pytest
import report

from prototxt.tasks import TASKS

NETS = both.REPO / "prototxt" / "nets"
PAIRS = [(task.name, net) for task in TASKS.values() for net in task.nets]
DISTINCT = [p for p in PAIRS if p[0] == "voc"] + [
    ("nyud-rgbd", "fcn32s-vgg16"),
    ("nyud-rgb-hha", "fcn32s-vgg16"),
    ("nyud-rgb-hha", "dilated-fcn2s-vgg16"),
]
"""Nets that differ in more than their data and classes."""
LIMIT = 1e-4
CHOSEN_LIMIT = 0.1
"""Of gradients through max pooling, in norm."""
GRADIENT_LIMIT = 1e-3
"""Of gradients through average pooling, in norm."""
SIZE = (29, 43)

TRUNK = {16: 14_714_688, 19: 20_024_384}
"""Parameters of VGG's convolutions (Simonyan & Zisserman 2015, table 1: 16 and 19 layers)."""


def parameters(task, net):
    """(fc6's weights, learned parameters up to score_fr), by arithmetic."""
    depth = 19 if net.endswith("19") else 16
    streams = len(task.inputs) if task.fusion == "late" else 1
    fc6 = 4096 * 512 * (9 if net.startswith("dilated") else 49)
    learned = TRUNK[depth] + fc6 + 4096 + 4096 * 4096 + 4096 + 4097 * len(task.classes)
    if task.fusion == "early":
        learned += 64 * 9
    return streams * fc6, streams * learned


every_net = pytest.mark.parametrize(("task", "net"), PAIRS, ids=["/".join(p) for p in PAIRS])


def inputs(task):
    """Images and a label map with void in it, the same for every net of a task."""
    stream = np.random.RandomState(len(task.classes))
    arrays = {
        blob: stream.uniform(-120, 140, (1, channels, *SIZE)).astype(np.float32)
        for blob, channels in task.inputs
    }
    label = stream.randint(0, len(task.classes), (1, 1, *SIZE)).astype(np.float32)
    label[..., :3, :] = 255
    return {**arrays, "label": label}


@every_net
def test_forward_and_backward_agree(task, net):
    args = {"net": str(NETS / task / net / "train.prototxt")}
    theirs, ours = both.run_both("small_pass", args, inputs(TASKS[task]), timeout=300)
    assert theirs["blob_shapes"]["score"] == [1, len(TASKS[task].classes), *SIZE]
    shapes = theirs["param_shapes"]
    fc6 = sum(np.prod(shapes[name][0]) for name in shapes if name.startswith("fc6"))
    learned = sum(
        np.prod(shape)
        for name in shapes
        if name.startswith(("conv", "fc", "score_fr"))
        for shape in shapes[name]
    )
    assert (fc6, learned) == parameters(TASKS[task], net)
    # The comparison means something: every learned layer gets a gradient.
    fixed = [n for n in theirs["params"] if n.startswith(("up", "scale_"))]
    learns = {
        name.split("[")[0].split()[1]
        for name, value in theirs.items()
        if name.startswith("gradient ") and np.abs(value).max() > 0
    }
    assert learns == set(theirs["params"]) - set(fixed)
    gradients = [k for k in theirs if k.startswith("gradient ")]
    norms = {k: both.norm_error(theirs[k], ours[k]) for k in gradients}
    report.record("every net", f"{task}/{net}: gradients, in norm", norms)
    kept = [{k: v for k, v in one.items() if k not in norms} for one in (theirs, ours)]
    report.record("every net", f"{task}/{net}: blobs", both.compare(*kept, LIMIT))
    assert list(ours) == list(theirs)
    assert max(norms.values()) <= CHOSEN_LIMIT, max(norms.items(), key=lambda item: item[1])


@pytest.mark.parametrize(("task", "net"), DISTINCT, ids=["/".join(p) for p in DISTINCT])
def test_gradients_agree_closely_with_average_pooling(task, net):
    args = {"net": str(NETS / task / net / "train.prototxt"), "average": True}
    theirs, ours = both.run_both("small_pass", args, inputs(TASKS[task]), timeout=300)
    gradients = [k for k in theirs if k.startswith("gradient ")]
    norms = {k: both.norm_error(theirs[k], ours[k]) for k in gradients}
    report.record("every net", f"{task}/{net}, average pooling: gradients, in norm", norms)
    assert max(norms.values()) <= GRADIENT_LIMIT, max(norms.items(), key=lambda item: item[1])


@every_net
@pytest.mark.parametrize("phase", ["val", "deploy"])
def test_val_and_deploy_nets_load_alike(task, net, phase):
    args = {"net": str(NETS / task / net / f"{phase}.prototxt")}
    theirs, ours = both.run_both("loaded", args, timeout=120)
    assert theirs == ours
    assert theirs["blob_shapes"]["score"] == [1, len(TASKS[task].classes), 30, 40]
