from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

import caffe
from tools import infer
from tools.common import cli, pictures

NET = (
    'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: {channels}'
    " dim: 10 dim: 10 }} }} }}\n"
    'layer {{ name: "score" type: "Convolution" bottom: "data" top: "score"'
    " convolution_param {{ num_output: 3 kernel_size: 1 }} }}\n"
)
MEAN = (100.0, 110.0, 120.0)


@pytest.fixture
def work(tmp_path):
    """A deploy net that tells the brightest of B, G, R per pixel, and two photographs."""
    caffe.set_mode_cpu()
    path = tmp_path / "deploy.prototxt"
    path.write_text(NET.format(channels=3))
    net = caffe.Net(str(path), caffe.TEST)
    net.params["score"][0].data[...] = np.eye(3)[:, :, None, None]
    weights = str(tmp_path / "w.caffemodel")
    net.save(weights)
    rng = np.random.RandomState(0)
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    rgbs = {}
    for name, shape in (("one.png", (7, 9, 3)), ("sub/two.png", (12, 5, 3))):
        rgbs[name] = rng.randint(0, 256, shape).astype(np.uint8)
        Image.fromarray(rgbs[name]).save(photos / name)
    return SimpleNamespace(
        root=tmp_path, net=str(path), weights=weights, photos=photos, rgbs=rgbs, out=tmp_path / "o"
    )


def run(work, *more):
    argv = [work.photos, "--net", work.net, "--weights", work.weights, "--out", work.out]
    argv += ["--mean", ",".join(map(str, MEAN)), "--cpu", *more]
    with pytest.raises(SystemExit) as caught:
        cli.run(infer.main, [str(a) for a in argv])
    return caught.value.code


def read(path):
    with Image.open(path) as image:
        return image.mode, np.asarray(image)


def expected(rgb):
    return (rgb[..., ::-1] - np.array(MEAN)).argmax(2)


def test_the_net_is_read_once(work, prototxts_read):
    assert run(work) == 0
    assert prototxts_read == {"deploy.prototxt": 1}


def test_masks_hold_class_numbers_at_the_images_sizes(work):
    assert run(work) == 0
    for name, rgb in work.rgbs.items():
        mode, mask = read(work.out / name)
        assert mode == "P"
        np.testing.assert_array_equal(mask, expected(rgb))


def test_overlays_are_written_when_asked_for(work):
    assert run(work, "--overlay") == 0
    rgb = work.rgbs["one.png"]
    mode, got = read(work.out / "one_overlay.png")
    assert mode == "RGB"
    np.testing.assert_array_equal(got, pictures.overlay(rgb, expected(rgb)))


def test_unreadable_images_are_named_skipped_and_end_in_exit_1(work, capsys):
    (work.photos / "bad.jpg").write_bytes(b"\xff\xd8\xff garbage")
    assert run(work) == 1
    text = capsys.readouterr()
    assert f"warning: skipped: {work.photos / 'bad.jpg'}" in text.err
    assert "1 of 3 images" in text.out
    assert (work.out / "sub/two.png").exists()


def test_hidden_files_and_folders_are_not_segmented(work, capsys):
    for name in ("._one.png", ".DS_Store", "Thumbs.db", ".thumbnails/one.jpg", "sub/._two.png"):
        (work.photos / name).parent.mkdir(exist_ok=True)
        (work.photos / name).write_bytes(b"no picture")
    assert run(work) == 0
    assert sorted(p.name for p in work.out.rglob("*.png")) == ["one.png", "two.png"]


@pytest.mark.parametrize("name", ["one.JPG", "one.Jpeg", "one.TIF", "one.PNG"])
def test_endings_in_upper_case_are_images_too(work, name):
    Image.fromarray(work.rgbs["one.png"]).save(work.photos / name)
    (work.photos / "one.png").unlink()
    assert run(work) == 0
    assert (work.out / "one.png").exists()


def test_a_turned_photographs_mask_has_the_size_at_which_it_is_shown(work):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(work.rgbs["one.png"]).save(
        work.photos / "turned.jpg", quality=100, subsampling=0, exif=exif
    )
    assert run(work) == 0
    _, mask = read(work.out / "turned.png")
    upright = np.rot90(work.rgbs["one.png"], -1)
    assert mask.shape == upright.shape[:2]
    assert (mask == expected(upright)).mean() > 0.9


def test_a_png_with_an_orientation_is_skipped_by_name(work, capsys):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(work.rgbs["one.png"]).save(work.photos / "turned.png", exif=exif)
    assert run(work) == 1
    assert "turned.png: a PNG with the EXIF orientation 6" in capsys.readouterr().err


def test_names_that_collide_are_numbered(work):
    Image.fromarray(work.rgbs["one.png"]).save(work.photos / "one.bmp")
    assert run(work) == 0
    assert {"one.png", "one-2.png"} <= {p.name for p in work.out.iterdir()}


@given(st.lists(st.sampled_from(["a", "A", "a-2", "a_overlay", "b"]), min_size=1), st.booleans())
def test_no_output_is_planned_twice(names, with_overlay):
    images = [(f"/in/{number}.jpg", name) for number, name in enumerate(names)]
    jobs = infer.image_jobs(images, "/out", with_overlay)
    outputs = [p.lower() for job in jobs for p in (job.mask, job.overlay) if p]
    assert len(outputs) == len(set(outputs)) == len(names) * (1 + with_overlay)


def test_inputs_are_never_overwritten(work, capsys):
    work.out = work.photos
    before = (work.photos / "one.png").read_bytes()
    with pytest.raises(SystemExit) as caught:
        cli.run(
            infer.main,
            [str(work.photos / "one.png"), "--net", work.net, "--weights", work.weights]
            + ["--out", str(work.photos), "--cpu"],
        )
    assert caught.value.code == 2
    assert "choose another --out" in capsys.readouterr().err
    assert (work.photos / "one.png").read_bytes() == before


def test_a_second_run_does_not_take_masks_for_photographs(work):
    work.out = work.photos / "masks"
    assert run(work) == 0
    first = sorted(p.relative_to(work.out) for p in work.out.rglob("*.png"))
    assert run(work) == 0
    assert sorted(p.relative_to(work.out) for p in work.out.rglob("*.png")) == first


def test_large_images_are_shrunk_and_their_masks_enlarged(work):
    photo = np.zeros((9, 8, 3), np.uint8)
    photo[:, :4, 0] = 255  # left red (class 2), right blue (class 0)
    photo[:, 4:, 2] = 255
    net = caffe.Net(work.net, caffe.TEST, weights=work.weights)
    mask = infer.segment(net, photo, MEAN, max_side=5)
    assert net.blobs["data"].data.shape == (1, 3, 5, 4)
    np.testing.assert_array_equal(mask, expected(photo))


def test_images_are_shrunk_as_the_task_shrinks_them(work):
    toml = work.root / "own.toml"
    toml.write_text(
        "name = 'own'\nclasses = ['a', 'b', 'c']\n[data]\nroot = 'x'\nval_images = 1\nshrink = 3\n"
        "[training]\nbase_lr = 1\niterations = 1\n"
    )
    assert run(work, "--task", toml) == 0
    _, mask = read(work.out / "one.png")
    assert mask.shape == work.rgbs["one.png"].shape[:2]
    corners = mask[::3, ::3]
    np.testing.assert_array_equal(mask, corners.repeat(3, 0).repeat(3, 1)[:7, :9])


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("num_output: 3", "num_ouput: 3", "deploy.prototxt:2:.*'num_output'"),
        ('"Convolution"', '"Convolutoin"', "deploy.prototxt: layer 'score'.*Convolutoin"),
        ('bottom: "data"', 'bottom: "dta"', "deploy.prototxt: layer 'score'.*'dta'"),
        ("num_output: 3", "num_output: 4", "w.caffemodel: .*'score'.*3, 3.*4, 3"),
    ],
)
def test_a_net_that_is_wrong_is_one_line_before_any_mask(work, capsys, old, new, said):
    path = work.root / "deploy.prototxt"
    path.write_text(path.read_text().replace(old, new))
    assert run(work) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and re.search("^error: .*" + said, err[0]), err
    assert not list(work.out.rglob("*.png"))


def test_a_half_caffemodel_is_one_line(work, capsys):
    with open(work.weights, "r+b") as file:
        file.truncate(file.seek(0, 2) // 2)
    assert run(work) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and "w.caffemodel: the caffemodel is damaged or cut short" in err[0]


@pytest.mark.parametrize(
    "more, said",
    [
        (["--mean", "1,2"], "expected 3 numbers"),
        (["--classes", "NAMES"], "names 2 classes, but the net has 3"),
        (["--task", "moon"], "--task moon: not one of"),
        (["--layer", "prob"], "no blob 'prob'"),
        (["nothing-here.jpg"], "nothing-here.jpg: no such image or folder"),
        (["--max-side", "-3"], "--max-side"),
    ],
)
def test_wrong_arguments_are_told_with_exit_2(work, capsys, more, said):
    (work.root / "names.txt").write_text("sky\nsea\n")
    more = [str(work.root / "names.txt") if m == "NAMES" else m for m in more]
    argv = [*more[:1], str(work.photos)] if not more[0].startswith("--") else [str(work.photos)]
    argv += ["--net", work.net, "--weights", work.weights, "--out", str(work.out), "--cpu"]
    argv += more if more[0].startswith("--") else []
    with pytest.raises(SystemExit) as caught:
        cli.run(infer.main, argv)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_folder_without_images_is_refused(work, capsys):
    work.photos = work.root / "empty"
    work.photos.mkdir()
    assert run(work) == 2
    assert "holds no images" in capsys.readouterr().err


def test_net_of_another_channel_count_is_refused(work, capsys):
    path = work.root / "four.prototxt"
    path.write_text(NET.format(channels=4))
    net = caffe.Net(str(path), caffe.TEST)
    net.params["score"][0].data[...] = 1
    work.net, work.weights = str(path), str(work.root / "four.caffemodel")
    net.save(work.weights)
    assert run(work) == 2
    assert "takes 4 channels" in capsys.readouterr().err


# pictures


def test_palette_is_vocs():
    palette = pictures.voc_palette()
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    for label, colour in known.items():
        assert tuple(palette[label]) == colour
    assert tuple(palette[255]) == (224, 224, 192)
    assert len(np.unique(palette, axis=0)) == 256


def test_palette_is_that_of_a_real_voc_label(shared):
    path = shared / "data/voc-samples/SegmentationClass/2011_000003.png"
    with Image.open(path) as image:
        used = np.unique(np.asarray(image))
        real = np.array(image.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(pictures.voc_palette()[used], real[used])


def test_indexed_png_keeps_every_label(tmp_path):
    labels = np.arange(256).reshape(16, 16)
    pictures.save_indexed(tmp_path / "x.png", labels)
    np.testing.assert_array_equal(read(tmp_path / "x.png")[1], labels)
    with pytest.raises(ValueError):
        pictures.save_indexed(tmp_path / "y.png", labels + 1)


def test_overlay_leaves_background_and_void_alone():
    rgb = np.full((1, 3, 3), 100, np.uint8)
    got = pictures.overlay(rgb, np.array([[0, 1, 255]]), alpha=0.5)
    assert got.tolist() == [[[100] * 3, [114, 50, 50], [100] * 3]]
    got = pictures.overlay(rgb, np.array([[0, 1, 255]]), alpha=0.5, background=None)
    assert got[0, 0].tolist() == [50] * 3


def test_panel_and_legend_hold_what_they_are_given():
    red = np.zeros((20, 30, 3), np.uint8)
    red[..., 0] = 255
    sheet = pictures.panel([red, Image.new("L", (10, 10)), red], ["a", "b", "c"], columns=2)
    assert (np.asarray(sheet) == (255, 0, 0)).all(2).sum() == 2 * 20 * 30
    box = pictures.legend(["sky", "road", "car"], np.array([[1, 1, 255]]))
    colours = {tuple(c) for c in np.asarray(box).reshape(-1, 3).tolist()}
    assert (128, 0, 0) in colours and (0, 128, 0) not in colours


def test_without_a_task_mean_and_shrink_are_those_of_the_val_net_beside(work):
    params = repr({"voc_dir": "x", "split": "val", "mean": MEAN, "shrink": 3, "classes": 3})
    (work.root / "val.prototxt").write_text(
        'layer { name: "data" type: "Python" top: "data" top: "label" python_param {'
        f' module: "voc_layers" layer: "VOCSegDataLayer" param_str: "{params}" }} }}'
    )
    argv = [work.photos / "one.png", "--net", work.net, "--weights", work.weights, "--cpu"]
    for place, more in (("a", []), ("b", ["--mean", ",".join(map(str, MEAN))])):
        with pytest.raises(SystemExit) as caught:
            arguments = [*argv, "--out", work.root / place, *more]
            cli.run(infer.main, [str(a) for a in arguments])
        assert caught.value.code == 0
    mask = read(work.root / "a" / "one.png")[1]
    np.testing.assert_array_equal(mask, read(work.root / "b" / "one.png")[1])
    assert mask.shape == (7, 9) and (mask[:3, :3] == mask[0, 0]).all()


def test_overlays_come_with_a_legend(work):
    assert run(work, "--overlay") == 0
    with Image.open(work.out / "legend.png") as picture:
        assert picture.width > picture.height


@pytest.mark.parametrize("module", [None, "no_such_layers"])
def test_a_val_net_beside_that_is_not_the_toolkits_does_not_stop_it(work, module, capsys):
    layer = 'layer { name: "data" type: "Input" top: "data" }'
    if module:
        layer = layer.replace("Input", "Python").replace(
            "}", f'python_param {{ module: "{module}" layer: "X" }} }}'
        )
    (work.root / "val.prototxt").write_text(layer)
    assert run(work) == 0
    assert ("no_such_layers" in capsys.readouterr().err) == bool(module)
    np.testing.assert_array_equal(read(work.out / "one.png")[1], expected(work.rgbs["one.png"]))


def test_an_hha_image_goes_into_the_net_as_it_is_stored(work):
    params = repr({"nyud_dir": "x", "split": "test", "tops": ["hha", "label"], "mean_hha": MEAN})
    (work.root / "val.prototxt").write_text(
        'layer { name: "data" type: "Python" top: "data" top: "label" python_param {'
        f' module: "nyud_layers" layer: "NYUDSegDataLayer" param_str: "{params}" }} }}'
    )
    argv = [work.photos / "one.png", "--net", work.net, "--weights", work.weights]
    with pytest.raises(SystemExit) as caught:
        cli.run(infer.main, [str(a) for a in [*argv, "--out", work.out, "--cpu"]])
    assert caught.value.code == 0
    channels = work.rgbs["one.png"] - np.array(MEAN)
    np.testing.assert_array_equal(read(work.out / "one.png")[1], channels.argmax(2))


def test_a_net_of_two_inputs_is_refused_before_its_weights_are_read(work, capsys):
    text = Path(work.net).read_text()
    Path(work.net).write_text(text.replace('"data"', '"color"', 2) + text)
    assert run(work) == 2
    err = capsys.readouterr().err
    assert "has 2 inputs (color, data)" in err and err.count("\n") == 1


@pytest.mark.parametrize("lacks", ["all", "one"])
def test_weights_that_lack_a_layer_are_refused_before_a_picture_is_read(work, capsys, lacks):
    text = Path(work.net).read_text()
    if lacks == "all":
        text = text.replace('name: "score"', 'name: "else"')
    else:
        text += 'layer { name: "low" type: "PReLU" bottom: "score" top: "low" }\n'
    Path(work.net).write_text(text)
    (work.photos / "one.png").write_bytes(b"no picture")
    assert run(work) == 2
    error = capsys.readouterr().err
    wanted = "for no layer of" if lacks == "all" else f"has no weights for low of {work.net}"
    assert error.count("\n") == 1 and wanted in error and not work.out.exists()


def test_masks_are_written_over_and_photographs_and_truths_are_not(work, capsys):
    assert run(work, "--overlay") == run(work, "--overlay") == 0
    truth = pictures.indexed(np.zeros((7, 9), np.uint8))
    photograph = Image.fromarray(work.rgbs["one.png"])
    for name, image in (("one.png", truth), ("one_overlay.png", photograph), ("legend.png", truth)):
        before = (work.out / name).read_bytes()
        image.save(work.out / name)
        kept = (work.out / name).read_bytes()
        for path in work.out.rglob("two*"):
            path.unlink()
        capsys.readouterr()
        assert run(work, "--overlay") == 2
        assert f"{name}: the file that is there is not a " in capsys.readouterr().err
        assert (work.out / name).read_bytes() == kept and not list(work.out.rglob("two*"))
        (work.out / name).write_bytes(before)


def test_a_photograph_beside_another_of_its_name_is_kept(work, capsys, monkeypatch):
    """`infer.py a.jpg --out .` beside a.png."""
    monkeypatch.chdir(work.photos)
    Image.fromarray(work.rgbs["one.png"]).save("one.jpg")
    before = Path("one.png").read_bytes()
    argv = ["one.jpg", "--net", work.net, "--weights", work.weights, "--out", ".", "--cpu"]
    with pytest.raises(SystemExit) as caught:
        cli.run(infer.main, argv)
    assert caught.value.code == 2 and Path("one.png").read_bytes() == before
    assert "one.png: the file that is there is not a mask" in capsys.readouterr().err
