"""Nets and solvers from prototxt text."""

from __future__ import annotations

import contextlib
import resource

import numpy as np
import pytest
from PIL import Image

import caffe
from tests.helpers.net_texts import fill


@pytest.fixture(autouse=True)
def on_the_cpu():
    caffe.set_mode_cpu()
    caffe.set_random_seed(1)


@pytest.fixture
def largest_file():
    """largest_file(size): a context in which no file can grow beyond `size` bytes."""

    @contextlib.contextmanager
    def largest_file(size):
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    return largest_file


@pytest.fixture
def write(tmp_path, monkeypatch):
    """write(text, name) -> path of a new file; its folder is the current one."""
    monkeypatch.chdir(tmp_path)

    def write(text, name="net.prototxt"):
        (tmp_path / name).write_text(text)
        return name

    return write


@pytest.fixture
def make(write):
    """make(net text, phase) -> Net."""

    def make(text, phase=caffe.TEST, name="net.prototxt", **more):
        return caffe.Net(write(text, name), phase, **more)

    return make


@pytest.fixture
def make_solver(write):
    """make_solver(net text, solver text) -> solver whose parameters are seeded numbers."""

    def make_solver(net, settings, seed=0):
        write(net)
        solver = caffe.get_solver(write(settings, "solver.prototxt"))
        fill(solver.net, seed)
        return solver

    return make_solver


@pytest.fixture
def voc(tmp_path):
    """Five pictures of differing sizes in VOC's layout; the prototxt of a net that reads them."""
    root = tmp_path / "voc"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    stream = np.random.RandomState(0)
    names = [f"p{i}" for i in range(5)]
    for i, name in enumerate(names):
        size = (6 + i, 9 - i)
        pixels = stream.randint(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.jpg")
        label = Image.fromarray(stream.randint(0, 3, size).astype(np.uint8))
        label.save(root / "SegmentationClass" / f"{name}.png")
    (root / "ImageSets/Segmentation/train.txt").write_text("\n".join(names))
    param = {"voc_dir": str(root), "split": "train", "mean": (104.0, 117.0, 123.0), "classes": 3}
    return f"""
        layer {{ name: "data" type: "Python" top: "data" top: "label" python_param {{
          module: "voc_layers" layer: "VOCSegDataLayer" param_str: "{param}" }} }}
        layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {{
          num_output: 4 kernel_size: 3 pad: 1 weight_filler {{ type: "gaussian" std: 0.01 }} }} }}
        layer {{ name: "drop" type: "Dropout" bottom: "conv" top: "conv" }}
        layer {{ name: "score" type: "Convolution" bottom: "conv" top: "score" convolution_param {{
          num_output: 3 kernel_size: 1 weight_filler {{ type: "gaussian" std: 0.01 }} }} }}
        layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
          loss_param {{ ignore_label: 255 normalize: false }} }}"""
