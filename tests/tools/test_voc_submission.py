from __future__ import annotations

import errno
import io
import os
import re
import struct
import tarfile
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from tools import voc_submission
from tools.common import cli
from tools.common.pictures import palette_kind, save_indexed, voc_palette

IDS = ["2008_000006", "2008_000011", "2012_004331"]
SIZES = [(6, 9), (8, 5), (7, 7)]
FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


@pytest.fixture
def work(tmp_path, capsys):
    """Three photographs in VOC's layout with predictions; `run(*arguments)` gives what is said."""
    voc, predictions = tmp_path / "voc", tmp_path / "predictions"
    (voc / "ImageSets/Segmentation").mkdir(parents=True)
    (voc / "JPEGImages").mkdir()
    (voc / "ImageSets/Segmentation/test.txt").write_text("\n".join(IDS) + "\n")
    rng = np.random.RandomState(0)
    labels = {}
    for name, (height, width) in zip(IDS, SIZES):
        photograph = Image.fromarray(rng.randint(0, 256, (height, width, 3)).astype(np.uint8))
        photograph.save(voc / "JPEGImages" / f"{name}.jpg")
        labels[name] = rng.randint(0, 21, (height, width)).astype(np.uint8)
        save_indexed(predictions / f"{name}.png", labels[name])
    out = tmp_path / "results.tgz"

    def run(*more, data=("--voc", voc)):
        argv = ["--predictions", predictions, "--out", out, *data, *more]
        with pytest.raises(SystemExit) as caught:
            cli.run(voc_submission.main, [str(a) for a in argv])
        text = capsys.readouterr()
        return caught.value.code, text.out, text.err

    return SimpleNamespace(
        root=tmp_path, voc=voc, predictions=predictions, labels=labels, out=out, run=run
    )


def contents(path):
    """{name: bytes} of an archive; fails if something in it is no plain file."""
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}


def one_error(found, code, *parts):
    errors = [t for t in found[2].splitlines() if not t.startswith(("packing ", "warning: "))]
    assert found[0] == code and len(errors) == 1 and errors[0].startswith("error: "), found
    assert all(part in errors[0] for part in parts), errors[0]


def warnings(found):
    return [t for t in found[2].splitlines() if t.startswith("warning: ")]


def refused(work, *rows):
    """The call is refused with exactly these lines in its table, and no archive is left."""
    found = work.run()
    one_error(found, 1, "was not written")
    lines = [re.split(r"  +", line) for line in found[1].splitlines()]
    assert lines[0] == ["id", "problem"] and lines[1:] == [list(row) for row in rows]
    assert not work.out.exists() and not list(work.root.glob(".*"))


def test_the_archive_holds_each_prediction_where_the_server_looks(work):
    code, out, _ = work.run()
    found = contents(work.out)
    assert code == 0 and list(found) == [f"{FOLDER}/{name}.png" for name in IDS]
    for name in IDS:
        with Image.open(io.BytesIO(found[f"{FOLDER}/{name}.png"])) as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.asarray(image), work.labels[name])
            np.testing.assert_array_equal(
                np.reshape(image.getpalette(), (-1, 3))[:21], voc_palette(21)
            )
    assert f"{work.out}: 3 predictions for comp6" in out


def test_predictions_with_the_palette_are_packed_as_they_are(work):
    work.run()
    found = contents(work.out)
    for name in IDS:
        assert found[f"{FOLDER}/{name}.png"] == (work.predictions / f"{name}.png").read_bytes()


def test_comp5_has_its_own_folder(work):
    assert work.run("--competition", "comp5")[0] == 0
    assert {os.path.dirname(name) for name in contents(work.out)} == {
        "results/VOC2012/Segmentation/comp5_test_cls"
    }


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".TGZ"])
def test_the_suffix_says_whether_to_compress(work, suffix):
    work.out = work.root / f"r{suffix}"
    assert work.run("--out", work.out)[0] == 0
    assert (work.out.read_bytes()[:2] == b"\x1f\x8b") == (suffix != ".tar")
    assert len(contents(work.out)) == 3


def test_another_suffix_is_one_line(work):
    one_error(work.run("--out", work.root / "results.zip"), 2, "results.zip", ".tgz")


def test_the_same_predictions_make_the_same_bytes(work):
    work.run()
    first = work.out.read_bytes()
    for number, path in enumerate(work.predictions.iterdir()):
        os.utime(path, (number, number))
    (work.voc / "ImageSets/Segmentation/test.txt").write_text("\n".join(IDS[::-1]))
    other = work.root / "elsewhere.tgz"
    work.run("--out", other)
    assert other.read_bytes() == first
    with tarfile.open(work.out) as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar.getmembers()} == {
            (0, 0, 0, "", "", 0o644)
        }
    assert struct.unpack("<I", first[4:8]) == (0,) and b"results.tgz" not in first[:64]


def test_a_list_and_a_folder_of_photographs_can_be_named(work):
    split = work.root / "mine.txt"
    split.write_text(f"{IDS[1]}\n")
    found = work.run("--images", work.voc / "JPEGImages", data=("--split", split))
    assert found[0] == 0 and list(contents(work.out)) == [f"{FOLDER}/{IDS[1]}.png"]
    assert any("2 PNGs are left out" in line for line in warnings(found))


def test_a_list_in_vocs_layout_finds_its_photographs(work):
    save_indexed(work.predictions / f"{IDS[0]}.png", np.zeros((3, 3)))
    split = work.voc / "ImageSets/Segmentation/test.txt"
    found = work.run(data=("--split", split))
    assert found[0] == 1 and "3x3 pixels, but its photograph has 9x6" in found[1]


def test_another_list_of_the_voc_folder_is_taken_by_name(work):
    (work.voc / "ImageSets/Segmentation/val.txt").write_text(IDS[2])
    assert work.run("--name", "val")[0] == 0
    assert list(contents(work.out)) == [f"{FOLDER}/{IDS[2]}.png"]


def test_another_number_of_ids_than_the_test_sets_is_warned_of(work):
    assert any("lists 3 ids" in t and "1456" in t for t in warnings(work.run()))


@pytest.mark.slow
def test_the_full_test_list_is_not_warned_of(work):
    ids = [f"2012_{i:06d}" for i in range(1456)]
    (work.voc / "ImageSets/Segmentation/test.txt").write_text("\n".join(ids))
    data = (work.predictions / f"{IDS[0]}.png").read_bytes()
    for name in ids:
        (work.predictions / f"{name}.png").write_bytes(data)
    for path in work.voc.glob("JPEGImages/*"):
        path.unlink()
    (work.voc / "JPEGImages").rmdir()
    found = work.run()
    assert found[0] == 0 and len(contents(work.out)) == 1456
    assert not any("1456" in line for line in warnings(found))


def test_what_infer_writes_beside_the_masks_is_no_extra_prediction(work):
    for name in (f"{IDS[0]}_overlay", "legend", "2008_000777"):
        save_indexed(work.predictions / f"{name}.png", np.zeros((3, 3)))
    found = work.run()
    assert found[0] == 0 and len(contents(work.out)) == 3
    assert any(
        "1 PNGs are left out, since their ids are not listed, such as 2008_000777.png" in t
        for t in warnings(found)
    )


def test_without_photographs_sizes_are_not_compared_and_that_is_said(work):
    save_indexed(work.predictions / f"{IDS[0]}.png", np.zeros((3, 3)))
    (work.voc / "JPEGImages").rename(work.root / "away")
    found = work.run()
    assert found[0] == 0 and any("sizes are not checked" in line for line in warnings(found))


def test_photographs_that_cannot_be_read_are_counted(work):
    (work.voc / f"JPEGImages/{IDS[0]}.jpg").unlink()
    (work.voc / f"JPEGImages/{IDS[1]}.jpg").write_bytes(b"not a picture")
    found = work.run()
    assert found[0] == 0 and any("of 2 ids" in line for line in warnings(found))


def test_a_missing_prediction_is_refused(work):
    (work.predictions / f"{IDS[1]}.png").unlink()
    refused(work, (IDS[1], "no prediction"))


def test_a_prediction_of_another_size_is_refused(work):
    save_indexed(work.predictions / f"{IDS[1]}.png", work.labels[IDS[1]].T)
    refused(work, (IDS[1], "8x5 pixels, but its photograph has 5x8"))


def test_void_in_a_prediction_is_refused(work):
    labels = work.labels[IDS[0]]
    labels[2, 3:5] = 255
    save_indexed(work.predictions / f"{IDS[0]}.png", labels)
    refused(work, (IDS[0], "2 pixels are void (255); every pixel needs a class"))


def test_a_value_that_is_no_class_is_refused(work):
    labels = work.labels[IDS[0]]
    labels[2, 3] = 21
    save_indexed(work.predictions / f"{IDS[0]}.png", labels)
    refused(work, (IDS[0], "value 21 at row 2, column 3; classes are 0 to 20"))


def test_colours_in_place_of_numbers_are_refused(work):
    path = work.predictions / f"{IDS[0]}.png"
    with Image.open(path) as image:
        colours = image.convert("RGB")
    colours.save(path)
    refused(work, (IDS[0], "RGB pixels; expected one channel, whose values are class numbers"))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_more_than_one_channel_is_refused(work, mode):
    Image.new(mode, (9, 6)).save(work.predictions / f"{IDS[0]}.png")
    refused(work, (IDS[0], f"{mode} pixels; expected one channel, whose values are class numbers"))


@pytest.mark.parametrize("length", [0, 4, 20, 60, 200])
def test_a_prediction_that_was_cut_off_is_refused(work, length):
    path = work.predictions / f"{IDS[2]}.png"
    path.write_bytes(path.read_bytes()[:length])
    found = work.run()
    one_error(found, 1, "1 of 3 predictions")
    assert found[1].splitlines()[1].startswith(IDS[2]) and not work.out.exists()


def test_a_jpeg_named_png_is_refused(work):
    path = work.predictions / f"{IDS[0]}.png"
    Image.fromarray(work.labels[IDS[0]]).save(path, "JPEG")
    refused(work, (IDS[0], "it is a picture (JPEG), not a PNG picture"))


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(work):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99))
    (work.predictions / f"{IDS[0]}.png").write_bytes(data)
    found = work.run()
    assert found[0] == 1 and "pixels" in found[1].splitlines()[1]


def test_all_problems_are_told_at_once(work):
    (work.predictions / f"{IDS[0]}.png").unlink()
    save_indexed(work.predictions / f"{IDS[1]}.png", np.full((8, 5), 255))
    (work.voc / "ImageSets/Segmentation/test.txt").write_text("\n".join([*IDS, IDS[2]]))
    refused(
        work,
        (IDS[2], "listed 2 times"),
        (IDS[0], "no prediction"),
        (IDS[1], "40 pixels are void (255); every pixel needs a class"),
    )


def test_an_earlier_archive_outlives_a_refusal(work):
    assert work.run()[0] == 0
    before = work.out.read_bytes()
    (work.predictions / f"{IDS[0]}.png").unlink()
    assert work.run()[0] == 1
    assert work.out.read_bytes() == before and not list(work.root.glob(".*"))


def test_an_earlier_archive_outlives_a_full_disk(work, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert work.run()[0] == 0
    before = work.out.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    one_error(work.run(), 1, "results.tgz", "No space left on device")
    assert work.out.read_bytes() == before and not list(work.root.glob(".*"))


@pytest.mark.parametrize("ending", [".tgz", ".tar"])
def test_an_archive_of_somebody_elses_is_kept(work, ending):
    work.out = work.out.with_suffix(ending)
    with tarfile.open(work.out, "w:gz" if ending == ".tgz" else "w") as tar:
        tar.add(work.voc / "ImageSets")
    before = work.out.read_bytes()
    one_error(work.run("--out", work.out), 2, f"results{ending}: the file that is there is not")
    assert work.out.read_bytes() == before
    work.out.unlink()
    assert work.run("--out", work.out)[0] == work.run("--out", work.out)[0] == 0


def other(palette, values):
    image = Image.fromarray(values)
    image.putpalette(np.ascontiguousarray(palette, np.uint8).ravel().tolist())
    return image


@pytest.mark.parametrize("kind", ["gray", "16 bits", "gray palette", "transparent"])
def test_other_palettes_and_gray_become_vocs_palette(work, kind):
    path, values = work.predictions / f"{IDS[0]}.png", work.labels[IDS[0]]
    if kind == "gray":
        Image.fromarray(values).save(path)
    elif kind == "16 bits":
        Image.fromarray(values.astype(np.uint16)).save(path)
    elif kind == "gray palette":
        other(np.repeat(np.arange(256), 3), values).save(path)
    else:
        other(voc_palette(), values).save(path, transparency=0)
    code, out, err = work.run()
    with Image.open(io.BytesIO(contents(work.out)[f"{FOLDER}/{IDS[0]}.png"])) as image:
        assert image.mode == "P" and "transparency" not in image.info
        np.testing.assert_array_equal(np.asarray(image), values)
        np.testing.assert_array_equal(np.reshape(image.getpalette(), (-1, 3))[:21], voc_palette(21))
    assert code == 0 and "1 were given VOC's palette" in out and "other numbers" not in err


def test_a_palette_of_only_the_colours_needed_is_vocs_palette_too(work):
    values = np.minimum(work.labels[IDS[0]], 3)
    other(voc_palette(4), values).save(work.predictions / f"{IDS[0]}.png", bits=2)
    code, out, _ = work.run()
    assert code == 0 and "VOC's palette" not in out


def test_vocs_colours_at_other_numbers_are_warned_of(work):
    palette = voc_palette()
    palette[[3, 7]] = palette[[7, 3]]
    values = work.labels[IDS[0]]
    values[0, 0] = 3
    other(palette, values).save(work.predictions / f"{IDS[0]}.png")
    found = work.run()
    assert found[0] == 0 and any(
        "1 predictions have VOC's colours at other numbers" in line for line in warnings(found)
    )


def test_class_shares_are_those_of_the_pixels(work):
    for name, (height, width) in zip(IDS, SIZES):
        labels = np.zeros((height, width))
        labels[0, 0] = 15 * (name != IDS[0])
        save_indexed(work.predictions / f"{name}.png", labels)
    rows = [line.split() for line in work.run()[1].splitlines()]
    total = sum(height * width for height, width in SIZES)
    assert ["background", f"{100 * (total - 2) / total:.2f}", "3"] in rows
    assert ["person", f"{200 / total:.2f}", "2"] in rows
    assert ["cow", "0.00", "0"] in rows


def test_a_folder_without_any_of_the_predictions_is_one_line(work):
    for path in work.predictions.iterdir():
        path.rename(path.with_suffix(".jpg"))
    one_error(work.run(), 2, "predictions: holds no <id>.png")


@pytest.mark.parametrize(
    "more, parts",
    [
        (("--predictions", "nowhere"), ("nowhere: no such folder of predictions",)),
        (("--images", "nowhere"), ("nowhere: no such folder of photographs",)),
        (("--name", "tset"), ("tset.txt: no such split file", "splits there: test")),
        (("--name", "../x"), ("'../x' is not a name",)),
        (("--out", "/proc/nowhere/r.tgz"), ("/proc/nowhere",)),
    ],
)
def test_what_is_not_there_is_one_line(work, more, parts):
    one_error(work.run(*more), 2, *parts)
    assert not work.out.exists()


@pytest.mark.slow
@given(st.lists(st.integers(0, 20), min_size=1, max_size=30), st.permutations(range(21)))
def test_a_palette_is_vocs_only_if_every_class_has_its_own_colour(values, order):
    labels = np.array([values], np.uint8)
    palette = voc_palette(21)[list(order)]
    right = all(order[value] == value for value in values)
    assert (palette_kind(labels, palette) == "voc") == right
