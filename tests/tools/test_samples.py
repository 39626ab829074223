"""samples.py draws what a data layer gives, as the net gets it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.helpers import tiny_run
from tools import samples
from tools.common.cli import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    tiny_run.lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_keys(path, **keys):
    text = path.read_text()
    more = "".join(f"'{key}': {value!r}, " for key, value in keys.items())
    path.write_text(text.replace("{'voc_dir'", "{" + more + "'voc_dir'"))


def test_a_sheet_holds_images_and_labels_of_the_first_items(folder, capsys):
    with_keys(folder / "train.prototxt", crop=(40, 30), scale=(2.0, 3.0), jitter=0.2)
    assert samples.main(["--net", "train.prototxt", "--out", "s.png", "--images", "4"]) == 0
    assert "items 0 to 3" in capsys.readouterr().out
    with Image.open("s.png") as sheet:
        assert sheet.width >= 6 * 30 and sheet.height >= 2 * 40


def test_what_is_seen_are_the_pixels_that_the_net_gets(folder):
    proto = samples.read_net("train.prototxt")
    layer, params = samples.layer_of(proto, "train.prototxt", "train")
    source = layer.open_source(params)
    load = layer.loader(params, source, params["seed"])
    name, tops = load(5)
    rgb, label = samples.seen(layer, params, tops)
    arrays = layer.read_item(params, source, name)
    assert np.array_equal(rgb, arrays["data"][..., ::-1])
    assert np.array_equal(label, arrays["label"])


def test_the_same_call_draws_the_same_sheet(folder):
    with_keys(folder / "train.prototxt", crop=9, scale=(0.5, 2.0), mirror=True, jitter=0.5)
    for name in ("a.png", "b.png"):
        samples.main(["--net", "train.prototxt", "--out", name, "--images", "3", "--first", "2"])
    assert (folder / "a.png").read_bytes() == (folder / "b.png").read_bytes()


def test_wrong_calls_are_refused_in_one_line(folder):
    (folder / "none.prototxt").write_text("layer { name: 'd' type: 'Input' top: 'd' }")
    with pytest.raises(UserError, match=r"none\.prototxt: has no Python data layer in phase TRAIN"):
        samples.main(["--net", "none.prototxt", "--out", "s.png"])
    with pytest.raises(UserError, match="--images must be 1 or more"):
        samples.main(["--net", "train.prototxt", "--out", "s.png", "--images", "0"])
    (folder / "mine.png").write_text("notes")
    with pytest.raises(UserError, match=r"mine\.png: the file that is there is not"):
        samples.main(["--net", "train.prototxt", "--out", "mine.png"])
