"""What the stage training trains on."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image

from caffe.proto import caffe_pb2
from surgery.importers import read_source
from tests.helpers.training_job import Job
from tools.float16 import write
from tools.gpu import training_data as td


@pytest.fixture
def made(tmp_path):
    """A job without a pack and its data set."""
    job = Job(tmp_path / "job")
    return job, td.data_set(job)


@pytest.fixture
def packed(tmp_path):
    """A job with a pack: made-up frames and a trunk of two layers."""
    td.make_up(tmp_path / "pack" / "camvid", train=14, val=9, size=(36, 48))
    random = np.random.RandomState(0)
    shapes = {"conv1_1": (64, 3, 3, 3), "conv1_2": (64, 64, 3, 3)}
    write(
        tmp_path / "pack" / "trunk-float16.caffemodel",
        {k: [random.randn(*s), random.randn(s[0])] for k, s in shapes.items()},
    )
    return Job(tmp_path / "job", data=tmp_path / "pack")


def test_without_a_pack_pictures_are_made_up_in_camvids_layout_and_size(made):
    job, data = made
    assert not data.real and data.dry and data.size == (90, 120)
    for name in (*data.train, *data.val):
        with Image.open(data.folder / "JPEGImages" / f"{name}.jpg") as photograph:
            assert photograph.size == (480, 360) and photograph.mode == "RGB"
        labels = np.array(Image.open(data.folder / "SegmentationClass" / f"{name}.png"))
        assert labels.shape == (360, 480)
        assert {0, 3, 255} <= set(np.unique(labels)) <= {*range(11), 255}


def test_a_dry_run_takes_a_few_frames_from_all_over_the_pack(packed):
    data = td.data_set(packed)
    assert data.real and len(data.train) == 12
    assert data.val == ["val00", "val02", "val04", "val06"] and data.size == (9, 12)


def test_a_run_on_a_gpu_takes_every_frame_at_full_size(packed):
    packed.gpu, packed.shrink = 0, 1
    data = td.data_set(packed)
    assert (len(data.train), len(data.val), data.size) == (14, 9, (36, 48))
    task = td.recipe(data, packed.folder)
    assert task.val.images == 9 and "shrink" not in dict(task.train.extra)
    assert td.trunk(packed) == packed.data / "trunk-float16.caffemodel"


@pytest.mark.slow
def test_the_nets_of_a_dry_run_are_narrow_but_for_their_scores(made):
    job, data = made
    task = td.recipe(data, job.folder)
    assert task.nets == ("dilated-fcn2s-vgg16", "fcn8s-atonce-vgg16")
    for net in task.nets:
        td.write_nets(task, net, job.folder / net, 32)
        text = (job.folder / net / "train.prototxt").read_text()
        message = text_format.Parse(text, caffe_pb2.NetParameter())
        outputs = {la.name: la.convolution_param.num_output for la in message.layer}
        assert (outputs["conv1_1"], outputs["fc7"], outputs["score_fr"]) == (2, 32, 11)
        frames = message.layer[0].python_param.param_str
        assert str(job.folder / "lists") in frames
        assert "'shrink': 4" in frames and "'crop': (90, 120)" in frames
        (source,) = (la.infogain_loss_param.source for la in message.layer if la.name == "loss")
        assert (job.folder / net / "balance.binaryproto").samefile(source)
        solver = (job.folder / net / "solver.prototxt").read_text()
        assert "test_iter: 4" in solver and str(job.folder / net / "val.prototxt") in solver


def test_narrow_nets_start_from_the_first_channels_of_the_trunk(packed):
    whole = read_source(str(packed.data / "trunk-float16.caffemodel"), (0, 0, 0))
    narrow = read_source(str(td.trunk(packed)), (0, 0, 0))
    assert np.array_equal(narrow["conv1_1"][0], whole["conv1_1"][0][:2])
    assert np.array_equal(narrow["conv1_2"][0], whole["conv1_2"][0][:2, :2])
    assert np.array_equal(narrow["conv1_2"][1], whole["conv1_2"][1][:2])


def test_without_a_pack_the_trunk_is_random_and_keeps_the_size_of_what_passes(made):
    job, _ = made
    weights = read_source(str(td.trunk(job)), (0, 0, 0))
    assert len(weights) == 13 and weights["conv5_3"][0].shape == (16, 16, 3, 3)
    assert abs(weights["conv5_3"][0].var() * 9 * 16 / 2 - 1) < 0.2
