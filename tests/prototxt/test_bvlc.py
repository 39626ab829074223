"""BVLC Caffe's own Python makes the same net files, and BVLC Caffe loads them."""

import os
import subprocess
from pathlib import Path

import pytest

from prototxt import generate
from prototxt.build import PHASES
from prototxt.tasks import TASKS

ROOT = Path(__file__).parents[2]

# In place of the data layers: tops of their shapes, and no files.
STUB_DATA = """
import ast, caffe

class Stub(caffe.Layer):
    def setup(self, bottom, top):
        tops = ast.literal_eval(self.param_str).get("tops", ["data", "label"])
        self.channels = [1 if t in ("label", "depth") else 3 for t in tops]
    def reshape(self, bottom, top):
        for i, channels in enumerate(self.channels):
            top[i].reshape(1, channels, 97, 131)
    def forward(self, bottom, top):
        pass
    def backward(self, top, propagate_down, bottom):
        pass

VOCSegDataLayer = SBDDSegDataLayer = PASCALContextSegDataLayer = NYUDSegDataLayer = Stub
"""

LOAD = """
import sys, caffe
for path in sys.argv[1:]:
    net = caffe.Net(path, caffe.TRAIN if path.endswith("train.prototxt") else caffe.TEST)
    fc6 = sum(net.params[name][0].count for name in net.params if name.startswith("fc6"))
    learned = sum(b.count for name in net.params for b in net.params[name]
                  if name.startswith(("conv", "fc", "score_fr")))
    print(path, *net.blobs["score"].shape, fc6, learned)
    del net
"""

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


@pytest.fixture
def bvlc(tmp_path):
    """Runs BVLC Caffe's Python in tmp_path; returns what it printed."""
    tool = ROOT / "tools" / "bvlc-caffe"
    found = subprocess.run([tool, "path"], stdout=subprocess.PIPE, check=True).stdout.decode()
    if not (Path(found.strip()) / ".complete").exists():
        pytest.skip("BVLC Caffe is not installed; run: tools/bvlc-caffe install")
    env = dict(os.environ, PYTHONPATH=f"{ROOT}:{tmp_path}", GLOG_minloglevel="2")
    env["PYTHONDONTWRITEBYTECODE"] = "1"

    def run(*arguments):
        return subprocess.run(
            [tool, "python", *arguments], cwd=tmp_path, env=env, check=True, stdout=subprocess.PIPE
        ).stdout.decode()

    return run


def test_bvlc_caffe_makes_the_same_bytes(bvlc, tmp_path):
    bvlc("-m", "prototxt.generate")
    made = generate.task_files()
    for path, text in made.items():
        assert (tmp_path / path).read_bytes() == text.encode(), path


def test_bvlc_caffe_loads_every_net(bvlc, tmp_path):
    for module in ("voc_layers", "pascalcontext_layers", "nyud_layers"):
        (tmp_path / f"{module}.py").write_text(STUB_DATA)
    pairs = [(task, net) for task in TASKS.values() for net in task.nets]
    for task, net in pairs:
        folder = ROOT / "prototxt" / "nets" / task.name / net
        paths = [folder / f"{phase}.prototxt" for phase in PHASES]
        printed = bvlc("-c", LOAD, *map(str, paths)).splitlines()
        fc6, learned = parameters(task, net)
        for path, line in zip(paths, printed):
            size = "500 500" if path.name == "deploy.prototxt" else "97 131"
            assert line == f"{path} 1 {len(task.classes)} {size} {fc6} {learned}"
        assert len(printed) == len(paths)
