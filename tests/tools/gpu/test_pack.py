"""The pack: what is carried to a machine without a network."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from surgery.importers import read_source
from tests.helpers.data_sets import TRAIN, VAL, write_voc
from tools.common.cli import Failure, UserError
from tools.gpu import pack as packing
from tools.gpu.pack import check, pack

pytest.importorskip("mozjpeg_lossless_optimization")

WEIGHTS = {
    "conv1_1": [np.linspace(-1, 1, 54, dtype="f4").reshape(2, 3, 3, 3), np.float32([0, 1])],
    "fc6": [np.ones((4, 2), "f4"), np.ones(4, "f4")],
}


@pytest.fixture(autouse=True)
def checkout(monkeypatch):
    """A checkout of 4 MB, wherever the tests run (this one may be no git checkout)."""
    monkeypatch.setattr(packing, "checkout_size", lambda root: 4_000_000)


@pytest.fixture
def sources(tmp_path):
    """A data set and a trunk to pack."""
    from tools.float16 import write

    write(tmp_path / "trunk.caffemodel", WEIGHTS)
    root = write_voc(tmp_path / "data", train=TRAIN, val=VAL)
    return {"camvid": root, "trunk": str(tmp_path / "trunk.caffemodel")}


@pytest.fixture
def packed(tmp_path, sources):
    pack(tmp_path / "pack", **sources)
    return tmp_path / "pack"


def test_a_pack_holds_every_frame_as_it_is_and_the_trunk_alone(packed, sources):
    for name in (*TRAIN, *VAL):
        for kind in ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"):
            found = Image.open(packed / "camvid" / kind.format(name))
            there = Image.open(sources["camvid"] / kind.format(name))
            assert np.array_equal(found, there)
    for split in ("train.txt", "val.txt"):
        path = f"ImageSets/Segmentation/{split}"
        assert (packed / "camvid" / path).read_text() == (sources["camvid"] / path).read_text()
    trunk = read_source(str(packed / "trunk-float16.caffemodel"), (0, 0, 0))
    assert list(trunk) == ["conv1_1"]
    assert np.abs(trunk["conv1_1"][0] - WEIGHTS["conv1_1"][0]).max() <= 2**-11


def test_the_manifest_names_every_file_with_its_size_and_digest(packed):
    listed = json.loads((packed / "manifest.json").read_text())["files"]
    there = {
        p.relative_to(packed).as_posix() for p in packed.rglob("*") if p.is_file()
    } - {"manifest.json"}  # fmt: skip
    assert set(listed) == there
    for name, (size, digest) in listed.items():
        content = (packed / name).read_bytes()
        assert (size, digest) == (len(content), hashlib.sha256(content).hexdigest())
    check(packed)


def test_a_pack_that_was_carried_badly_is_refused_by_name(packed):
    (packed / "camvid/JPEGImages" / f"{TRAIN[0]}.jpg").write_bytes(b"half")
    with pytest.raises(UserError, match=rf"{TRAIN[0]}.jpg: is not what was packed"):
        check(packed)
    (packed / "camvid/JPEGImages" / f"{TRAIN[0]}.jpg").unlink()
    with pytest.raises(UserError, match=rf"{TRAIN[0]}.jpg: No such file"):
        check(packed)
    (packed / "manifest.json").write_text("[]")
    with pytest.raises(UserError, match="manifest.json: is damaged"):
        check(packed)


def test_an_earlier_pack_is_replaced_and_anything_else_left_alone(packed, sources):
    (packed / "old").write_text("x")
    pack(packed, **sources)
    assert not (packed / "old").exists()
    other = packed.with_name("other")
    other.mkdir()
    (other / "mine").write_text("x")
    with pytest.raises(UserError, match="is not empty and no pack"):
        pack(other, **sources)
    assert [p.name for p in other.iterdir()] == ["mine"]


def test_what_is_too_large_with_the_checkout_is_not_written(tmp_path, sources, monkeypatch):
    monkeypatch.setattr(packing, "LIMIT", 4_001_000)
    with pytest.raises(Failure, match="more than the") as caught:
        pack(tmp_path / "pack", **sources)
    assert caught.value.exit_code == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "trunk.caffemodel"]


def test_missing_data_or_weights_are_one_line_and_leave_nothing(tmp_path, sources):
    from surgery.errors import SurgeryError

    with pytest.raises(UserError, match="train.txt: No such file.*CamVid"):
        pack(tmp_path / "pack", tmp_path / "nowhere", sources["trunk"])
    with pytest.raises(SurgeryError, match="no such file"):
        pack(tmp_path / "pack", sources["camvid"], str(tmp_path / "no.caffemodel"))
    (sources["camvid"] / "JPEGImages" / f"{VAL[0]}.jpg").unlink()
    with pytest.raises(UserError, match=f"{VAL[0]}.jpg: No such file.*not whole"):
        pack(tmp_path / "pack", **sources)
    assert not (tmp_path / "pack").exists() and not list(tmp_path.glob(".pack*"))


def test_a_label_keeps_its_numbers_without_its_palette():
    import io

    from tools.common.pictures import indexed

    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    stream = io.BytesIO()
    indexed(labels).save(stream, "PNG")
    made = packing.gray(stream.getvalue())
    assert len(made) == len(stream.getvalue()) - 780
    image = Image.open(io.BytesIO(made))
    assert image.mode == "L" and np.array_equal(image, labels)
    stream = io.BytesIO()
    Image.fromarray(labels).save(stream, "PNG")
    assert packing.gray(stream.getvalue()) == stream.getvalue()


def test_the_checkouts_size_is_that_of_the_files_git_tracks(tmp_path, monkeypatch):
    monkeypatch.undo()
    import shutil
    import subprocess

    if shutil.which("git") is None:
        pytest.skip("git is not here")
    with pytest.raises(UserError, match="is no git checkout"):
        packing.checkout_size(tmp_path / "nowhere")
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    for name, size in (("a", 30), ("ä b", 12), ("not-tracked", 500)):
        (tmp_path / name).write_bytes(b"x" * size)
    subprocess.run([*git, "add", "a", "ä b"], check=True)
    assert packing.checkout_size(tmp_path) == 42
