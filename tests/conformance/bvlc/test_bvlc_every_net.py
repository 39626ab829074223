"""Every task's every net, as generated: loaded by both, and run forward and backward.

Images are small (FCN's pad of 100 is what remains), so the blobs are those of the whole net on few
pixels. Every blob is compared in full; of parameters' gradients with more than a million numbers,
every 101st and the rows' sums of squares; both sides run backward on the same blobs, since on so
few pixels one choice of a ReLU or of max pooling that rounding turns shows in every gradient.
"""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from caffe.proto import caffe_pb2
from prototxt.tasks import TASKS
from tests.conformance import both, report

NETS = both.REPO / "prototxt" / "nets"
PAIRS = [(task.name, net) for task in TASKS.values() for net in task.nets]
LIMIT = 1e-4
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


def without_data_layer(task, net):
    """The train net's text but its name and its data layer."""
    made = caffe_pb2.NetParameter()
    text_format.Merge((NETS / task / net / "train.prototxt").read_text(), made)
    return "\n".join(str(layer) for layer in made.layer if layer.type != "Python")


ALIKE = {}
"""What differs in its data layer only is compared once: text -> the first pair that has it."""
for _pair in PAIRS:
    ALIKE.setdefault(without_data_layer(*_pair), _pair)
compared_nets = pytest.mark.parametrize(
    ("task", "net"), ALIKE.values(), ids=["/".join(p) for p in ALIKE.values()]
)


@compared_nets
def test_forward_and_backward_agree(task, net):
    args = {"net": str(NETS / task / net / "train.prototxt")}
    theirs, ours = both.one_after_the_other(
        "small_pass", args, inputs(TASKS[task]), timeout=300, threads=2
    )
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
    errors = both.compare(theirs, ours, LIMIT)
    tasks = [t for t, n in PAIRS if n == net and ALIKE[without_data_layer(t, n)] == (task, net)]
    report.record_parts("every net", f"{', '.join(tasks)}: {net}: ", errors)


@every_net
@pytest.mark.parametrize("phase", ["val", "deploy"])
def test_val_and_deploy_nets_load_alike(task, net, phase):
    args = {"net": str(NETS / task / net / f"{phase}.prototxt")}
    theirs, ours = both.run_both("loaded", args, timeout=120)
    assert theirs == ours
    assert theirs["blob_shapes"]["score"] == [1, len(TASKS[task].classes), 30, 40]
