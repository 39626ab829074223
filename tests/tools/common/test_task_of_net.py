"""Class names, palette, mean and shrink of a user's nets are found beside them, without --task."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import caffe
from prototxt import generate
from prototxt.tasks import TASKS
from tests.helpers.data_sets import IMAGES, VAL, net, write_toml
from tools import check_data, infer, score
from tools.common import nets
from tools.common.pictures import colours_of, voc_palette

COLOURS = [[70, 130, 180], [128, 64, 128], [0, 0, 142], [107, 142, 35]]


@pytest.fixture
def made(data, tmp_path):
    """The folder of a small net that a TOML with a palette made, which tells the brightest of B, G,
    R; its weights are w.caffemodel."""
    toml = write_toml(tmp_path / "small.toml", data)
    toml.write_text(f"palette = {COLOURS}\nmean = [1, 2, 3]\n" + toml.read_text())
    files = generate.own_files(str(toml), ["fcn32s-vgg16"], str(tmp_path / "runs"))
    folder = tmp_path / "runs" / "fcn32s-vgg16"
    for path, text in files.items():
        generate.write({path: text})
    toml.unlink()
    score_layer = (
        'layer { name: "score" type: "Convolution" bottom: "data" top: "score"'
        " convolution_param { num_output: 4 kernel_size: 1 } }\n"
    )
    voc = {"voc_dir": str(data), "mean": (1.0, 2.0, 3.0), "classes": 4}
    net(folder / "val.prototxt", "val", **voc)
    shape = "input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } }"
    (folder / "deploy.prototxt").write_text(
        f'layer {{ name: "data" type: "Input" top: "data" {shape} }}\n{score_layer}'
    )
    with open(folder / "val.prototxt", "a", encoding="utf-8") as file:
        file.write(score_layer)
    caffe.set_mode_cpu()
    one = caffe.Net(str(folder / "deploy.prototxt"), caffe.TEST)
    one.params["score"][0].data[:3, :, 0, 0] = np.eye(3)
    one.save(str(folder / "w.caffemodel"))
    return folder


def palette(path):
    with Image.open(path) as image:
        return np.array(image.getpalette()).reshape(-1, 3)


def test_score_names_the_classes_and_draws_in_their_colours(made, tmp_path, capsys):
    out = tmp_path / "out"
    call = ["--net", str(made / "val.prototxt"), "--weights", str(made / "w.caffemodel")]
    call += ["--save-dir", str(out), "--json", str(out / "s.json"), "--cpu"]
    assert score.main(call) == 0
    names = [one["name"] for one in json.loads((out / "s.json").read_text())["classes"]]
    assert names == ["sky", "road", "car", "tree"]
    colours = palette(out / f"{VAL[0]}.png")
    np.testing.assert_array_equal(colours[:4], COLOURS)
    np.testing.assert_array_equal(colours[4:], voc_palette()[4:])


def test_infer_names_the_classes_and_draws_in_their_colours(made, data, tmp_path, capsys):
    out = tmp_path / "out"
    call = [str(data / IMAGES / "b1.jpg"), "--net", str(made / "deploy.prototxt"), "--overlay"]
    call += ["--weights", str(made / "w.caffemodel"), "--out", str(out), "--cpu"]
    assert infer.main(call) == 0
    assert "road 44 %, sky 29 %" in capsys.readouterr().out
    np.testing.assert_array_equal(palette(out / "b1.png")[:4], COLOURS)
    drawn = {tuple(c) for c in np.asarray(Image.open(out / "legend.png")).reshape(-1, 3).tolist()}
    assert set(map(tuple, COLOURS)) <= drawn


def test_check_data_names_the_classes_of_such_nets(made, capsys):
    assert check_data.main(["--net", str(made / "val.prototxt"), "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert "\nroad " in out and "class 1" not in out


def test_a_named_task_comes_before_the_file_and_that_before_the_folders_name(made, tmp_path):
    inside = tmp_path / "voc" / "net"
    inside.mkdir(parents=True)
    found = nets.find_task(None, inside / "val.prototxt")
    assert found is TASKS["voc"]
    (inside / "task.toml").write_bytes((made / "task.toml").read_bytes())
    assert nets.find_task(None, inside / "val.prototxt").name == "small"
    assert nets.find_task("sbd", inside / "val.prototxt") is TASKS["sbd"]


def test_a_copy_that_was_damaged_is_warned_of_and_left_out(made, capsys):
    (made / "task.toml").write_text("name = \n")
    assert nets.find_task(None, made / "val.prototxt") is None
    assert "task.toml: not TOML" in capsys.readouterr().err


def test_the_nets_own_mean_comes_before_the_copys(made):
    task = nets.find_task(None, made / "deploy.prototxt")
    text = (made / "val.prototxt").read_text()
    (made / "val.prototxt").write_text(text.replace("(1.0, 2.0, 3.0)", "(7.0, 8.0, 9.0)"))
    path = made / "deploy.prototxt"
    assert nets.input_settings(task, path, asked=False).mean == (7, 8, 9)
    assert nets.input_settings(task, path, asked=True).mean == (1, 2, 3)
    (made / "val.prototxt").unlink()
    assert nets.input_settings(task, path, asked=False).mean == (1, 2, 3)


def test_colours_are_vocs_where_the_task_has_none():
    np.testing.assert_array_equal(colours_of(None), voc_palette())
    np.testing.assert_array_equal(colours_of(TASKS["nyud-rgb"]), voc_palette())
