"""make_init.py from the command line's arguments to the caffemodel."""

import errno
import os
import re
from collections import namedtuple

import numpy as np
import pytest

from surgery import upsample_filt
from surgery.importers.caffemodel import read
from surgery.make_init import main
from tests.helpers.surgery_nets import caffemodel, small_train_net, small_vgg, v1_caffemodel
from tools.common import cli

Place = namedtuple("Place", "net source out")


@pytest.fixture
def place(tmp_path):
    """A small net, a small VGG in the V1 format, and where the result goes."""
    (tmp_path / "train.prototxt").write_text(small_train_net())
    (tmp_path / "vgg.caffemodel").write_bytes(v1_caffemodel(small_vgg()))
    names = ("train.prototxt", "vgg.caffemodel", "runs/init.caffemodel")
    return Place(*(tmp_path / name for name in names))


def arguments(place):
    return ["--net", str(place.net), "--from", str(place.source), "--out", str(place.out)]


def make(place, *extra):
    """The weights that make_init.py writes: layer name -> arrays."""
    assert main([*arguments(place), *extra]) == 0
    return read(str(place.out))


def refusal(place, capsys, *extra):
    """The one line that make_init.py refuses with; its exit code must be 2."""
    with pytest.raises(SystemExit) as stopped:
        cli.run(main, [*arguments(place), *extra])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("option", "file", "said"),
    [
        ("net", "vgg.caffemodel", "--net {}/vgg.caffemodel: it is a caffemodel, not a net's"),
        ("source", "train.prototxt", "{}/train.prototxt: it is a net's prototxt, not weights"),
        ("source", "vg.caffemodel", "--from {0}/vg.caffemodel: no such file; did you mean {0}"),
        ("source", "renamed.caffemodel", "is a net's prototxt, not a caffemodel"),
        ("source", "vgg.caffemodel:vgg.caffemodel", "is a caffemodel, not a net's prototxt"),
        ("out", "vgg.caffemodel", "--out {}/vgg.caffemodel: is the source itself"),
    ],
)  # fmt: skip
def test_a_file_of_the_wrong_kind_is_named_before_the_work(place, capsys, option, file, said):
    folder = place.net.parent
    (folder / "renamed.caffemodel").write_text(small_train_net())
    before = place.source.read_bytes()
    path = f"{folder}/{file.replace(':', f':{folder}/')}"
    assert said.format(folder) in refusal(place._replace(**{option: path}), capsys)
    assert place.source.read_bytes() == before


def without(weights, *names):
    return {name: arrays for name, arrays in weights.items() if name not in names}


def test_every_layer_starts_by_its_rule(place):
    vgg, made = small_vgg(), make(place)
    for name in ("conv1_1", "conv1_2"):
        assert all(map(np.array_equal, made[name], vgg[name]))
    fc6 = vgg["fc6"][0].reshape(6, 4, 7, 7)
    assert np.array_equal(made["fc6"][0], fc6[:, :, ::3, ::3])
    assert np.array_equal(made["fc7"][0], vgg["fc7"][0].reshape(6, 6, 1, 1))
    for name in ("fc6", "fc7"):
        assert np.array_equal(made[name][1], vgg[name][1])
    kernel = upsample_filt(16).astype("f4")
    assert all(np.array_equal(made["upscore"][0][c, c], kernel) for c in range(3))
    assert np.count_nonzero(made["upscore"][0]) == 3 * np.count_nonzero(kernel)
    assert (made["scale_pool1"][0] == np.float32(0.01)).all()
    for name in ("score_fr", "score_pool1"):
        assert not made[name][0].any() and not made[name][1].any()
    assert "fc8" not in made


def test_fc6_flat_is_the_published_truncation(place):
    made = make(place, "--fc6", "flat")["fc6"][0]
    assert np.array_equal(made.ravel(), small_vgg()["fc6"][0].ravel()[: 6 * 4 * 9])


def test_the_table_tells_where_each_layer_came_from(place, capsys):
    make(place)
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split(None, 2)[1:] for line in lines[:9]}
    assert rows == {
        "layer": ["shape", "from"],
        "conv1_1": ["4x3x3x3", "copied"],
        "conv1_2": ["4x4x3x3", "copied"],
        "fc6": ["6x4x3x3", "decimated from 6x196"],
        "fc7": ["6x6x1x1", "copied from 6x6"],
        "score_fr": ["3x6x1x1", "zero"],
        "upscore": ["3x3x16x16", "bilinear"],
        "scale_pool1": ["4", "fixed scale 0.01"],
        "score_pool1": ["3x4x1x1", "zero"],
    }
    starts = [line.index(line.split(None, 2)[2], len(line.split()[0])) for line in lines[1:9]]
    assert len(set(starts)) == 1, "the columns are aligned"
    assert lines[9] == "dropped: fc8"


def test_a_narrower_net_keeps_evenly_spaced_outputs_of_fc6_and_fc7(place, capsys):
    text = place.net.read_text().replace("num_output: 6", "num_output: 3")
    place.net.write_text(text)
    made, vgg = make(place), small_vgg()
    kernel = vgg["fc6"][0].reshape(6, 4, 7, 7)[::2, :, ::3, ::3]
    assert np.array_equal(made["fc6"][0], kernel)
    assert np.array_equal(made["fc7"][0].reshape(3, 3), vgg["fc7"][0][::2, ::2])
    for name in ("fc6", "fc7"):
        assert np.array_equal(made[name][1].ravel(), vgg[name][1][::2])
    assert "decimated from 6x196, 3 of 6 outputs" in capsys.readouterr().out


def test_fc6_and_fc7_without_a_source_are_refused(place, capsys):
    weights = without(small_vgg(), "fc6", "fc7")
    place.source.write_bytes(caffemodel(weights))
    error = refusal(place, capsys)
    assert (
        "fc6, fc7: not in the source, and a layer of zeros here could never learn; --fill-missing"
        in error
    )
    assert not place.out.exists()


def test_fill_missing_fills_the_dead_layers_and_no_score_layer(place, capsys):
    place.source.write_bytes(caffemodel(without(small_vgg(), "fc6", "fc7")))
    made = make(place, "--fill-missing", "msra", "--seed", "3")
    assert made["fc6"][0].std() == pytest.approx(np.sqrt(2 / 36), rel=0.2)
    assert np.count_nonzero(made["fc7"][0]) == 36
    assert not made["score_fr"][0].any()
    assert "msra-filled" in capsys.readouterr().out
    again = make(place, "--fill-missing", "msra", "--seed", "3")
    assert np.array_equal(made["fc6"][0], again["fc6"][0])
    other = make(place, "--fill-missing", "msra", "--seed", "4")
    assert not np.array_equal(made["fc6"][0], other["fc6"][0])


def test_a_fourth_channel_starts_as_the_mean_of_the_others(place):
    place.net.write_text(small_train_net(mean="1, 2, 3, 4", first="conv1_1_bgrd"))
    weights, bias = make(place)["conv1_1_bgrd"]
    source, source_bias = small_vgg()["conv1_1"]
    assert np.array_equal(weights[:, :3], source)
    assert np.allclose(weights[:, 3], source.mean(axis=1), atol=1e-6)
    assert np.array_equal(bias, source_bias)


def test_two_streams_start_from_one_source_or_from_two(place, tmp_path):
    stream = """layer { name: "conv1_1S" type: "Convolution" bottom: "S" top: "oS"
      convolution_param { num_output: 4 kernel_size: 3 pad: 100 } }"""
    data = 'layer { name: "d" type: "Python" top: "color" top: "hha" top: "label" }'
    place.net.write_text(data + "".join(stream.replace("S", s) for s in ("color", "hha")))
    suffixes = ["--suffix", "color", "--suffix", "hha"]
    made, one = make(place, *suffixes), small_vgg()
    assert np.array_equal(made["conv1_1color"][0], one["conv1_1"][0])
    assert np.array_equal(made["conv1_1hha"][0], one["conv1_1"][0])
    (tmp_path / "two.caffemodel").write_bytes(caffemodel(small_vgg(seed=9)))
    made = make(place, "--from", str(tmp_path / "two.caffemodel"), *suffixes)
    assert np.array_equal(made["conv1_1color"][0], one["conv1_1"][0])
    assert np.array_equal(made["conv1_1hha"][0], small_vgg(seed=9)["conv1_1"][0])


def test_a_trained_net_starts_the_next_stage_with_its_scores(place):
    first = without(make(place), "score_fr")
    first["score_fr"] = [np.full((3, 6, 1, 1), 2, "f4"), np.full(3, 5, "f4")]
    place.source.write_bytes(caffemodel(first))
    made = make(place)
    assert (made["score_fr"][0] == 2).all() and (made["score_fr"][1] == 5).all()
    assert np.array_equal(made["fc6"][0], first["fc6"][0])


def test_fixed_scales_and_upsampling_are_the_nets_own_whatever_the_source_has(place):
    weights = small_vgg()
    weights["scale_pool1"] = [np.full(4, 5, "f4")]
    weights["upscore"] = [np.ones((21, 21, 16, 16), "f4")]
    place.source.write_bytes(caffemodel(weights))
    made = make(place)
    assert (made["scale_pool1"][0] == np.float32(0.01)).all()
    assert np.array_equal(made["upscore"][0][2, 2], upsample_filt(16).astype("f4"))


def test_scores_of_other_classes_are_refused_or_dropped(place, capsys):
    weights = small_vgg()
    weights["score_fr"] = [np.ones((21, 6, 1, 1), "f4"), np.ones(21, "f4")]
    place.source.write_bytes(caffemodel(weights))
    error = refusal(place, capsys)
    assert "layer score_fr" in error and "21x6x1x1" in error and "3x6x1x1" in error
    assert not make(place, "--drop", "score_fr")["score_fr"][0].any()


def test_a_source_of_another_net_is_named(place, capsys):
    place.source.write_bytes(caffemodel({"other": [np.ones(3, "f4")]}))
    error = refusal(place, capsys)
    assert str(place.source) in error and "none of the net's layers" in error and "other" in error


def test_a_suffix_that_no_layer_has_is_named(place, capsys):
    assert "with the suffix color" in refusal(place, capsys, "--suffix", "color")


def test_sources_and_suffixes_must_pair(place, capsys):
    extra = ["--from", str(place.source), "--suffix", "a"]
    assert "one for each --suffix" in refusal(place, capsys, *extra)


def test_a_half_caffemodel_leaves_the_earlier_result_alone(place, capsys):
    make(place)
    capsys.readouterr()
    before = place.out.read_bytes()
    whole = place.source.read_bytes()
    place.source.write_bytes(whole[: len(whole) // 2])
    assert "damaged or cut short" in refusal(place, capsys)
    assert place.out.read_bytes() == before
    assert os.listdir(place.out.parent) == ["init.caffemodel"]


def test_a_full_disk_is_said_before_anything_is_written(place, capsys, monkeypatch):
    usage = namedtuple("usage", "total used free")(10, 10, 0)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(SystemExit) as stopped:
        cli.run(main, arguments(place))
    assert stopped.value.code == 1
    assert "0 MB free" in capsys.readouterr().err
    assert os.listdir(place.out.parent) == []


def test_a_disk_that_fails_leaves_the_earlier_result_alone(place, capsys, monkeypatch):
    make(place)
    capsys.readouterr()
    before = place.out.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit) as stopped:
        cli.run(main, arguments(place))
    assert stopped.value.code == 1
    assert re.fullmatch(r"error: .*init.caffemodel: No space left.*\n", capsys.readouterr().err)
    assert place.out.read_bytes() == before and len(os.listdir(place.out.parent)) == 1


def test_trained_weights_are_not_replaced(place, capsys):
    place.out.parent.mkdir(exist_ok=True)
    place.out.write_bytes(place.source.read_bytes())
    assert "is not weights that surgery has made, and is kept" in refusal(place, capsys)
    assert place.out.read_bytes() == place.source.read_bytes()


def test_initial_weights_are_made_anew_in_their_place(place):
    make(place)
    before = place.out.read_bytes()
    make(place)
    assert place.out.read_bytes() == before


def test_the_result_must_be_named_caffemodel(place, capsys):
    error = refusal(place._replace(out=place.out.with_suffix(".h5")), capsys)
    assert "must end in .caffemodel" in error
