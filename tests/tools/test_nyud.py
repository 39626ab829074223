from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from prototxt.tasks import NYUD_CLASSES
from tests.helpers.nyud_mat import (
    COLUMNS,
    NAMES,
    ROWS,
    files,
    frame,
    one_error,
    read,
    stack,
    write_mat,
)
from tools import nyud


def segmentation(labelled, number):
    return loadmat(str(labelled.out / f"segmentation/img_{number}.mat"))["segmentation"]


def stamps(out):
    return {p: p.stat().st_mtime_ns for p in out.rglob("*.*")}


def splits(labelled, train=(3, 1), test=(2,)):
    path = labelled.folder / "splits.mat"
    columns = {"trainNdxs": train, "testNdxs": test}
    savemat(str(path), {k: np.array([v], np.float64).T for k, v in columns.items()})
    return path


def listed(labelled, name, *ids):
    path = labelled.folder / f"{name}-ids.txt"
    path.write_text("".join(f"{i}\n" for i in ids))
    return path


def test_the_table_has_all_894_names_and_every_class():
    table = nyud.class_table()
    assert len(table) == len({name for name, _ in table}) == 894
    assert {number for _, number in table} == set(range(1, 41))
    with open(nyud.TABLE) as file:
        assert [row.split("\t")[0] for row in file][1:] == [str(i) for i in range(1, 895)]


def test_each_class_with_a_name_of_its_own_has_its_own_number():
    table = dict(nyud.class_table())
    assert [table[name] for name in NYUD_CLASSES[:37]] == list(range(1, 38))
    assert not {"otherstructure", "otherfurniture", "otherprop"} & set(table)


def test_names_that_are_compared_alike_have_one_class():
    classes = {}
    for name, number in nyud.class_table():
        assert classes.setdefault(nyud.key(name), number) == number


def test_pixels_keep_their_rows_and_columns(labelled):
    assert labelled.run()[0] == 0
    crop = np.s_[45:470, 40:600]
    lut = np.array([0, 40, 1, 40, 2, 37])
    for i in range(3):
        name, wanted = f"img_{5001 + i}", frame(i)
        mode, rgb = read(labelled.out / f"data/images/{name}.png")
        assert mode == "RGB" and rgb.shape == (425, 560, 3)
        np.testing.assert_array_equal(rgb, wanted["images"][crop])
        mode, depth = read(labelled.out / f"data/depth/{name}.png")
        assert mode.startswith("I") and depth.shape == (425, 560)
        metres = 1000 + 2 * ROWS + 3 * COLUMNS + i
        np.testing.assert_array_equal(depth, metres[crop])
        raw = read(labelled.out / f"data/rawdepth/{name}.png")[1]
        np.testing.assert_array_equal(raw, np.where(COLUMNS < 300 - ROWS // 2, 0, metres)[crop])
        found = segmentation(labelled, 5001 + i)
        assert found.dtype == np.uint8 and found.shape == (425, 560)
        np.testing.assert_array_equal(found, lut[wanted["labels"]][crop])


def test_the_data_layer_reads_what_is_written(labelled):
    from nyud_layers import NYUDSegDataLayer, read_depth, read_nyud_label

    labelled.run("--splits", splits(labelled))
    params = {
        "nyud_dir": str(labelled.out),
        "split": "trainval",
        "tops": ["color", "depth", "label"],
    }
    NYUDSegDataLayer.check(params)
    assert NYUDSegDataLayer.ids(params) == ["5003", "5001"]
    crop = np.s_[45:470, 40:600]
    label = read_nyud_label(str(labelled.out / "segmentation/img_5003.mat"))
    lut = np.array([255, 39, 0, 39, 1, 36])
    np.testing.assert_array_equal(label, lut[frame(2)["labels"]][crop])
    depth = read_depth(str(labelled.out / "data/depth/img_5003.png"))
    np.testing.assert_allclose(np.exp(depth), 1000 * frame(2)["depths"][crop], rtol=1e-4)


def test_depth_pngs_have_16_bits(labelled):
    labelled.run()
    for folder in ("depth", "rawdepth"):
        head = (labelled.out / f"data/{folder}/img_5001.png").read_bytes()[:33]
        assert head[12:16] == b"IHDR" and head[24:26] == b"\x10\x00"  # 16 bits, gray


def test_exactly_the_four_files_of_each_frame_are_written(labelled):
    code, out, _ = labelled.run()
    kinds = ("data/depth/{}.png", "data/images/{}.png", "data/rawdepth/{}.png")
    names = [f"img_{i}" for i in (5001, 5002, 5003)]
    wanted = [k.format(n) for k in (*kinds, "segmentation/{}.mat") for n in names]
    assert code == 0 and files(labelled.out) == wanted
    assert "they need --splits, --train, --val" in out.splitlines()[-1]


def test_no_crop_keeps_all_pixels(labelled):
    assert labelled.run("--no-crop")[0] == 0
    np.testing.assert_array_equal(
        read(labelled.out / "data/images/img_5002.png")[1], frame(1)["images"]
    )
    assert segmentation(labelled, 5002).shape == (480, 640)


@pytest.mark.slow
def test_a_real_frame_comes_back_pixel_for_pixel(labelled, shared):
    real = {n: read(shared / f"data/nyud-frame/{n}.png")[1] for n in ("color", "depth", "rawdepth")}
    whole = {n: np.zeros((480, 640, *a.shape[2:]), a.dtype) for n, a in real.items()}
    for name, array in real.items():
        whole[name][45:470, 40:600] = array
    write_mat(
        labelled.mat,
        frames=1,
        images=whole["color"].transpose(2, 1, 0)[None],
        depths=(whole["depth"].T[None] / 1000).astype(np.float32),
        rawDepths=(whole["rawdepth"].T[None] / 1000).astype(np.float32),
    )
    assert labelled.run()[0] == 0
    for name, folder in (("color", "images"), ("depth", "depth"), ("rawdepth", "rawdepth")):
        np.testing.assert_array_equal(
            read(labelled.out / f"data/{folder}/img_5001.png")[1], real[name]
        )


def test_labels_are_mapped_by_name_whatever_their_order(labelled):
    write_mat(labelled.mat, names=NAMES[::-1])
    labelled.run("--no-crop")
    lut = np.array([0, 37, 2, 40, 1, 40])
    np.testing.assert_array_equal(segmentation(labelled, 5003), lut[frame(2)["labels"]])


def test_a_name_that_the_table_lacks_is_one_line(labelled):
    write_mat(labelled.mat, names=[*NAMES, "hovercraft"])
    one_error(labelled.run(), 2, "labeled.mat", "'hovercraft'", "--mapping")
    assert not labelled.out.exists()


@pytest.mark.slow
def test_own_mapping_takes_the_place_of_the_table(labelled):
    write_mat(labelled.mat, names=[*NAMES[:4], "hovercraft"])
    path = labelled.folder / "map.mat"
    savemat(str(path), {"mapClass": np.array([[9, 8, 7, 0, 40]], np.uint8)})
    assert labelled.run("--mapping", path, "--no-crop")[0] == 0
    lut = np.array([0, 9, 8, 7, 0, 40])
    np.testing.assert_array_equal(segmentation(labelled, 5001), lut[frame(0)["labels"]])


@pytest.mark.slow
@pytest.mark.parametrize("change", ["mapping", "labels"])
def test_labels_made_otherwise_are_neither_kept_nor_replaced_unasked(labelled, change):
    assert labelled.run()[0] == 0
    before = {p: p.read_bytes() for p in labelled.out.rglob("*.*")}
    call = ()
    if change == "mapping":
        path = labelled.folder / "map.mat"
        savemat(str(path), {"mapClass": np.array([[40, 1, 40, 2, 36]], np.uint8)})
        call = ("--mapping", path)
    else:
        write_mat(labelled.mat, labels=np.ones_like(stack("labels")))
    one_error(labelled.run(*call), 2, "img_5001.mat: holds other classes", "--overwrite")
    assert {p: p.read_bytes() for p in labelled.out.rglob("*.*")} == before
    assert labelled.run(*call, "--overwrite")[0] == 0
    assert labelled.run(*call)[1].count(" 0     3") == 4


@pytest.mark.parametrize(
    "values, part",
    [
        ({"mapClass": [[1, 2]]}, "maps 2 classes"),
        ({"mapClass": [[1, 2, 3, 4, 41]]}, "1 to 41"),
        ({"mapClass": [[-1, 2, 3, 4, 5]]}, "-1 to 5"),
        ({"classes": [[1, 2, 3, 4, 5]]}, "no mapClass"),
    ],
)
def test_a_mapping_that_does_not_fit_is_one_line(labelled, values, part):
    path = labelled.folder / "map.mat"
    savemat(str(path), values)
    one_error(labelled.run("--mapping", path), 2, "map.mat", part)


def test_splits_become_lists_of_ids(labelled):
    code, out, _ = labelled.run("--splits", splits(labelled))
    assert code == 0
    assert (labelled.out / "trainval.txt").read_text() == "5003\n5001\n"
    assert (labelled.out / "test.txt").read_text() == "5002\n"
    assert "not written: train.txt, val.txt; they need --train, --val" in out


def test_own_lists_are_copied(labelled):
    train, val = listed(labelled, "train", 5003), listed(labelled, "val", "img_5001")
    assert labelled.run("--splits", splits(labelled), "--train", train, "--val", val)[0] == 0
    texts = {
        n: (labelled.out / f"{n}.txt").read_text() for n in ("train", "val", "trainval", "test")
    }
    assert texts == {
        "train": "5003\n", "val": "5001\n", "trainval": "5003\n5001\n", "test": "5002\n"
    }  # fmt: skip


@pytest.mark.parametrize(
    "train, test, part",
    [
        ((1, 4), (2,), "1 to 4"),
        ((0, 1), (2,), "0 to 1"),
        ((1, 2), (2, 3), "share 1 ids, the first 5002"),
        ((1, 1), (2,), "holds 5001 2 times"),
    ],
)
def test_splits_that_do_not_fit_are_one_line(labelled, train, test, part):
    one_error(labelled.run("--splits", splits(labelled, train, test)), 2, "splits.mat", part)
    assert not labelled.out.exists()


@pytest.mark.parametrize(
    "train, val, part",
    [
        ((5004,), (5001,), "'5004' is not an id; expected 5001 to 5003"),
        (("2008_000001",), (5001,), "'2008_000001' is not an id"),
        ((5003, 5001), (5001,), "share 1 ids, the first 5001"),
        ((5003, 5002), (5001,), "splits.mat: testNdxs share 1 ids, the first 5002"),
        ((5003, 5003), (5001,), "holds 5003 2 times"),
    ],
)
def test_own_lists_that_do_not_fit_are_one_line(labelled, train, val, part):
    call = ("--train", listed(labelled, "train", *train), "--val", listed(labelled, "val", *val))
    one_error(labelled.run("--splits", splits(labelled), *call), 2, "train-ids.txt", part)
    assert not labelled.out.exists()


def test_another_list_in_place_is_not_lost(labelled):
    labelled.out.mkdir()
    (labelled.out / "train.txt").write_text("5001\n")
    call = ("--train", listed(labelled, "train", 5003))
    one_error(labelled.run(*call), 2, "nyud/train.txt", "--overwrite")
    assert files(labelled.out) == ["train.txt"]
    assert labelled.run("--overwrite", *call)[0] == 0
    assert (labelled.out / "train.txt").read_text() == "5003\n"


def test_a_second_call_keeps_what_is_whole(labelled):
    labelled.run()
    before = stamps(labelled.out)
    gone = labelled.out / "data/depth/img_5002.png"
    gone.unlink()
    cut = labelled.out / "data/images/img_5003.png"
    cut.write_bytes(cut.read_bytes()[:-500])
    bad = labelled.out / "segmentation/img_5001.mat"
    bad.write_bytes(bad.read_bytes()[:200])
    code, out, _ = labelled.run()
    after = stamps(labelled.out)
    assert code == 0 and {p for p in after if before[p] != after[p]} == {gone, cut, bad}
    assert read(cut)[1].shape == (425, 560, 3) and segmentation(labelled, 5001).shape == (425, 560)
    assert [line.split() for line in out.splitlines()[1:5]] == [
        ["data/images", "1", "2"], ["data/depth", "1", "2"], ["data/rawdepth", "0", "3"],
        ["segmentation", "1", "2"],
    ]  # fmt: skip


@pytest.mark.parametrize("place", ["data/images/img_5003.png", "segmentation/img_5001.mat"])
def test_a_file_of_somebody_elses_is_kept(labelled, place):
    labelled.run()
    (labelled.out / place).write_text("notes")
    one_error(labelled.run(), 2, place, "none of this tool's files", "--overwrite")
    assert (labelled.out / place).read_text() == "notes"


def test_overwrite_makes_the_same_bytes_anew(labelled):
    labelled.run()
    before = {p: p.read_bytes() for p in labelled.out.rglob("*.*")}
    times = stamps(labelled.out)
    assert labelled.run("--overwrite")[0] == 0
    assert {p: p.read_bytes() for p in labelled.out.rglob("*.*")} == before
    assert all(times[p] != time for p, time in stamps(labelled.out).items())


@pytest.mark.parametrize("broken", ["size", "mode"])
def test_a_file_made_otherwise_is_not_overwritten_unasked(labelled, broken):
    path = labelled.out / "data/images/img_5002.png"
    path.parent.mkdir(parents=True)
    Image.new("L" if broken == "mode" else "RGB", (560, 425 - (broken == "size"))).save(path)
    before = path.read_bytes()
    one_error(labelled.run(), 2, "img_5002.png", "--overwrite")
    assert path.read_bytes() == before
    assert labelled.run("--overwrite")[0] == 0 and read(path)[0] == "RGB"


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_no_half_file(labelled, monkeypatch):
    real, written = os.fsync, []

    def full(handle):
        written.append(handle)
        if len(written) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        one_error(labelled.run(), 1, "img_500", "No space left on device")
    assert len(files(labelled.out)) == 5
    assert labelled.run()[0] == 0 and len(files(labelled.out)) == 12


def test_an_out_folder_that_cannot_be_made_is_one_line(labelled):
    labelled.out.write_text("a file")
    one_error(labelled.run(), 2, "nyud")
