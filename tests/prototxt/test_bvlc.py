"""BVLC Caffe's own Python makes the same net files, and BVLC Caffe loads them."""

import os
import subprocess
from pathlib import Path

import pytest

from prototxt import generate

ROOT = Path(__file__).parents[2]

STUB_DATA = """
import caffe

class VOCSegDataLayer(caffe.Layer):
    def setup(self, bottom, top):
        pass
    def reshape(self, bottom, top):
        top[0].reshape(1, 3, 97, 131)
        top[1].reshape(1, 1, 97, 131)
    def forward(self, bottom, top):
        pass
    def backward(self, top, propagate_down, bottom):
        pass

class SBDDSegDataLayer(VOCSegDataLayer):
    pass
"""

LOAD = """
import sys, caffe
for path in sys.argv[1:]:
    net = caffe.Net(path, caffe.TRAIN if path.endswith("train.prototxt") else caffe.TEST)
    score = net.blobs["score"].shape
    learned = sum(b.count for name in net.params for b in net.params[name]
                  if name.startswith(("conv", "fc", "score_fr")))
    print(path, *score, net.params["fc6"][0].count, learned)
"""


@pytest.fixture
def bvlc(tmp_path):
    """Runs BVLC Caffe's Python in tmp_path; returns what it printed."""
    tool = ROOT / "tools" / "bvlc-caffe"
    home = Path(os.environ.get("BVLC_ROOT") or Path.home() / ".cache" / "bvlc-caffe")
    if not tool.exists() or not (home / ".complete").exists():
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
    (tmp_path / "voc_layers.py").write_text(STUB_DATA)
    paths = [path for path in generate.task_files() if not path.endswith("solver.prototxt")]
    printed = bvlc("-c", LOAD, *(str(ROOT / path) for path in paths)).splitlines()
    assert len(printed) == len(paths)
    for path, line in zip(paths, printed):
        size = "500 500" if path.endswith("deploy.prototxt") else "97 131"
        learned = 50_460_501 if "vgg16" in path else 55_770_197
        assert line == f"{ROOT / path} 1 21 {size} 18874368 {learned}"
