"""A split's photographs, truth and predictions in one picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from segmentation.pictures import read_label, read_rgb

import caffe
from tests.helpers.data_sets import IMAGES, LABELS, LISTS, VAL, net, write_nyud
from tools import show
from tools.common import cli
from tools.common.pictures import voc_palette

SCORE = (
    'layer { name: "score" type: "Convolution" bottom: "BOTTOM" top: "score"'
    " convolution_param { num_output: 4 kernel_size: 1 } }\n"
    'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"'
    " loss_param { ignore_label: 255 } }\n"
)
MEAN = (100.0, 110.0, 120.0)


@pytest.fixture
def trained(data, tmp_path):
    """(val net, weights): class 0, 1, 2 where B, G, R is the brightest; and a palette for them."""
    folder = tmp_path / "small" / "net"
    folder.mkdir(parents=True)
    voc = {"voc_dir": str(data), "mean": MEAN, "classes": 4}
    path = net(folder / "val.prototxt", "val", **voc)
    with open(path, "a", encoding="utf-8") as file:
        file.write(SCORE.replace("BOTTOM", "data"))
    return path, weights(path, tmp_path / "w.caffemodel")


def weights(path, out):
    caffe.set_mode_cpu()
    made = caffe.Net(path, caffe.TEST)
    made.params["score"][0].data[:3, :, 0, 0] = np.eye(3, made.params["score"][0].shape[1])
    made.params["score"][1].data[3:] = -1000
    made.save(str(out))
    return str(out)


def run(trained, out, *more):
    argv = ["--net", trained[0], "--weights", trained[1], "--out", out, "--cpu", *more]
    with pytest.raises(SystemExit) as caught:
        cli.run(show.main, [str(a) for a in argv])
    return caught.value.code


def cells(path, size, columns, rows):
    """The pictures of a sheet, row by row, as arrays."""
    sheet = np.asarray(Image.open(path))
    height, width = size
    places = [(6 + (height + 22) * r, 6 + (width + 6) * c) for r in range(rows)
              for c in range(columns)]  # fmt: skip
    return [sheet[y + 16 : y + 16 + height, x : x + width] for y, x in places]


def expected(data, name):
    rgb = read_rgb(str(data / IMAGES / f"{name}.jpg"))
    truth = read_label(str(data / LABELS / f"{name}.png"))
    guess = (rgb[..., ::-1] - np.array(MEAN)).argmax(2)
    return rgb, voc_palette()[truth], voc_palette()[guess]


def test_each_row_holds_a_photograph_its_truth_and_its_prediction(data, trained, tmp_path, capsys):
    assert run(trained, tmp_path / "x.png") == 0
    got = cells(tmp_path / "x.png", (24, 31), 4, 3)
    for row, name in enumerate(VAL):
        for picture, right in zip(got[4 * row :], expected(data, name)):
            np.testing.assert_array_equal(picture, right)
    assert f"x.png: {', '.join(VAL)}" in capsys.readouterr().out


def test_one_image_is_drawn_two_by_two_as_the_demo_draws_it(data, trained, tmp_path):
    assert run(trained, tmp_path / "x.png", "--ids", "b2") == 0
    got = cells(tmp_path / "x.png", (24, 31), 2, 2)
    for picture, right in zip(got, expected(data, "b2")):
        np.testing.assert_array_equal(picture, right)


@pytest.mark.parametrize("count, ids", [(1, "b1"), (2, "b1, b3"), (9, "b1, b2, b3")])
def test_images_are_spread_over_the_split(trained, tmp_path, capsys, count, ids):
    assert run(trained, tmp_path / "x.png", "--images", count) == 0
    assert capsys.readouterr().out.endswith(f"x.png: {ids}\n")


def test_a_shrunk_net_is_shown_at_the_size_of_the_photograph(data, trained, tmp_path):
    path = trained[0]
    with open(path, encoding="utf-8") as file:
        text = file.read().replace("'split'", "'shrink': 2, 'split'")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    assert run(trained, tmp_path / "x.png", "--ids", "b1") == 0
    photograph, truth, guess, _ = cells(tmp_path / "x.png", (24, 31), 2, 2)
    for picture, right in zip((photograph, truth), expected(data, "b1")):
        np.testing.assert_array_equal(picture, right)
    np.testing.assert_array_equal(guess, guess[::2, ::2].repeat(2, 0).repeat(2, 1)[:24, :31])


def test_large_images_are_drawn_smaller(trained, tmp_path):
    assert run(trained, tmp_path / "x.png", "--ids", "b1", "--max-side", 16) == 0
    assert run(trained, tmp_path / "y.png", "--ids", "b1", "--max-side", 0) == 0
    small, large = (Image.open(tmp_path / name).size for name in ("x.png", "y.png"))
    assert large[1] - small[1] == 2 * 12


def test_several_inputs_are_shown_by_the_first(tmp_path, capsys):
    write_nyud(tmp_path / "nyud", trainval=["1"], test=["2", "3"])
    params = {"nyud_dir": str(tmp_path / "nyud"), "tops": ["color", "depth", "label"]}
    path = net(tmp_path / "val.prototxt", "test", "nyud_layers", "NYUDSegDataLayer", **params)
    with open(path, encoding="utf-8") as file:
        text = file.read().replace('top: "data"', 'top: "color" top: "depth"')
    both = 'layer { name: "both" type: "Concat" bottom: "color" bottom: "depth" top: "both" }\n'
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + both + SCORE.replace("BOTTOM", "both").replace("4 kernel", "40 kernel"))
    trained = path, weights(path, tmp_path / "w.caffemodel")
    assert run(trained, tmp_path / "x.png") == 0
    rgb = read_rgb(str(tmp_path / "nyud/data/images/img_2.png"))
    np.testing.assert_array_equal(cells(tmp_path / "x.png", (24, 31), 4, 2)[0], rgb)


@pytest.mark.parametrize(
    "more, said",
    [
        (["--ids", "b1,a1"], "--ids a1: is not in"),
        (["--images", "0"], "--images must be 1 or more"),
        (["--task", "moon"], "--task moon"),
        (["--layer", "prob"], "no blob 'prob'"),
        (["--out", "/"], "/: is a folder"),
    ],
)
def test_wrong_calls_are_one_line(trained, tmp_path, capsys, more, said):
    assert run(trained, tmp_path / "x.png", *more) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and said in err and err.count("\n") == 1
    assert not (tmp_path / "x.png").exists()


def test_a_wrong_file_is_named_as_it_is_in_training(data, trained, tmp_path, capsys):
    (data / LISTS / "val.txt").write_text("b1.jpg\n")
    assert run(trained, tmp_path / "x.png") == 2
    assert "'b1.jpg' has an extension" in capsys.readouterr().err


def test_the_val_net_and_not_the_deploy_net_is_asked_for(trained, tmp_path, capsys):
    deploy = tmp_path / "deploy.prototxt"
    deploy.write_text('layer { name: "data" type: "Input" top: "data" }')
    assert run((deploy, trained[1]), tmp_path / "x.png") == 2
    assert "no Python data layer" in capsys.readouterr().err


def test_weights_that_lack_a_layer_are_refused(trained, tmp_path, capsys):
    with open(trained[0], "a", encoding="utf-8") as file:
        file.write(
            'layer { name: "low" type: "InnerProduct" bottom: "score" top: "low"'
            " inner_product_param { num_output: 2 } }\n"
        )
    assert run(trained, tmp_path / "x.png") == 2
    assert f"has no weights for low of {trained[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["photograph.png", "notes.txt"])
def test_a_file_of_somebody_elses_is_kept(trained, tmp_path, capsys, name):
    out = tmp_path / name
    Image.new("RGB", (4, 4)).save(out, "PNG")
    before = out.read_bytes()
    assert run(trained, out) == 2
    assert f"{name}: the file that is there is not a picture that this" in capsys.readouterr().err
    assert out.read_bytes() == before
    out.unlink()
    assert run(trained, out) == run(trained, out) == 0
