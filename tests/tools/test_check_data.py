"""Every defect of a data set is reported, and nothing else."""

from __future__ import annotations

import itertools
import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from segmentation.pictures import read_label

from tests.helpers.checked_data import check
from tests.helpers.data_sets import (
    IMAGE_DEFECTS,
    IMAGES,
    LABEL_DEFECTS,
    LABELS,
    LISTS,
    TRAIN,
    VAL,
    in_colours,
    missing,
    net,
    other_size,
    out_of_range,
    truncated,
    write_context,
    write_nyud,
    write_sbd,
    write_toml,
    write_voc,
)
from tools import check_data
from tools.common.cli import UserError


def the_same(rows, expected):
    """Each row is an expected (split, id, file's name, words of the problem), and the reverse."""
    left = list(rows)
    for *place, words in expected:
        found = [row for row in left if list(row[:3]) == place and words in row[3]]
        assert found, (place, words, left)
        left.remove(found[0])
    assert left == []


def split_of(name):
    return "train" if name in TRAIN else "val"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_sound_data_set_has_no_problem(data, capsys, jobs):
    code, rows, made = check(data, jobs=jobs)
    assert code == 0 and rows == [] and made["in_no_split"] == {}
    assert [(s["images"], s["ok"], s["bad"]) for s in made["splits"]] == [(5, 5, 0), (3, 3, 0)]
    out = capsys.readouterr().out
    assert "problem" not in out
    assert [line.split()[:4] for line in out.splitlines()[-2:]] == [
        ["train", "5", "5", "0"],
        ["val", "3", "3", "0"],
    ]


A2, B3 = ("train", "a2", f"{IMAGES}/a2.jpg"), ("val", "b3", f"{LABELS}/b3.png")


@pytest.mark.slow
@pytest.mark.parametrize(
    "place, plant, told",
    [(A2, *row) for row in IMAGE_DEFECTS.items()] + [(B3, *row) for row in LABEL_DEFECTS.items()],
)
def test_a_bad_file_is_reported(data, place, plant, told):
    split, name, file = place
    plant(data / file)
    code, rows, made = check(data)
    assert code == 1 and [s["bad"] for s in made["splits"]] == [split == "train", split == "val"]
    the_same(rows, [(split, name, os.path.basename(file), words) for words in told])


@pytest.mark.slow
@given(
    images=st.dictionaries(st.sampled_from(TRAIN[1:] + VAL[1:]), st.sampled_from([*IMAGE_DEFECTS])),
    labels=st.dictionaries(st.sampled_from(TRAIN[1:] + VAL[1:]), st.sampled_from([*LABEL_DEFECTS])),
    copies=st.sets(st.sampled_from(VAL[1:])),
    twice=st.sets(st.sampled_from(TRAIN + VAL)),
    leaks=st.sets(st.sampled_from(TRAIN)),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_defects_together_are_reported_and_nothing_else(
    tmp_path, images, labels, copies, twice, leaks
):
    shutil.rmtree(tmp_path / "data", ignore_errors=True)
    root = write_voc(tmp_path / "data", train=TRAIN, val=VAL)
    val = VAL + sorted(leaks)
    expected = []
    for name in copies:  # of the first, which is sound
        shutil.copy(root / IMAGES / f"{TRAIN[0]}.jpg", root / IMAGES / f"{name}.jpg")
        if name not in images:
            expected.append(("val", name, f"{name}.jpg", "same content as train a1: "))
    splits = {"train": TRAIN, "val": val}
    for name, plant in images.items():
        plant(root / IMAGES / f"{name}.jpg")
    for name, plant in labels.items():
        plant(root / LABELS / f"{name}.png")
    for split, names in splits.items():
        for name in names:
            rows = [(f"{name}.jpg", w) for w in IMAGE_DEFECTS.get(images.get(name), ())]
            words = LABEL_DEFECTS.get(labels.get(name), ())
            rows += [(f"{name}.png", w) for w in words if name not in images or "size" not in w]
            expected += [(split, name, *row) for row in rows]
    for name in twice:
        expected.append((split_of(name), name, f"{split_of(name)}.txt", "listed 2 times"))
    for name in leaks:
        expected.append(("val", name, "val.txt", "is in train too"))
    for split, names in splits.items():
        lines = names + sorted(twice & set(TRAIN if split == "train" else VAL))
        (root / LISTS / f"{split}.txt").write_text("\n".join(lines))

    code, rows, made = check(root, jobs=2)
    the_same(rows, expected)
    assert code == (1 if expected else 0)
    assert [s["bad"] for s in made["splits"]] == [
        len({row[1] for row in expected if row[0] == split}) for split in ("train", "val")
    ]


def test_the_table_is_aligned_and_names_whole_paths(data, capsys):
    missing(data / IMAGES / "a2.jpg")
    out_of_range(data / LABELS / "b1.png")
    check(data)
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("split  id"))
    file, what = lines[at].index("file"), lines[at].index("problem")
    assert [line[:file].split() for line in lines[at + 1 : at + 3]] == [
        ["train", "a2"],
        ["val", "b1"],
    ]
    assert lines[at + 1][file:what].strip() == str(data / IMAGES / "a2.jpg")
    assert lines[at + 2][file:what].strip() == str(data / LABELS / "b1.png")
    assert lines[at + 1][what:].startswith("no such image")


def test_without_one_sound_id_the_first_problem_of_each_is_reported(data):
    for name in TRAIN:
        truncated(data / IMAGES / f"{name}.jpg")
        missing(data / LABELS / f"{name}.png")
    code, rows, _ = check(data)
    the_same(rows, [("train", name, f"{name}.png", "no such label") for name in TRAIN])


def test_the_same_picture_in_train_and_val_under_two_names_is_reported(data):
    shutil.copy(data / IMAGES / "a3.jpg", data / IMAGES / "b2.jpg")
    _, rows, _ = check(data)
    the_same(rows, [("val", "b2", "b2.jpg", f"same content as train a3: {data / IMAGES}")])


def test_files_in_no_split_are_counted_and_are_no_problem(data, capsys):
    shutil.copy(data / IMAGES / "a3.jpg", data / IMAGES / "c.jpg")
    (data / IMAGES / "Thumbs.db").write_bytes(b"")
    (data / IMAGES / ".1234.d.jpg").write_bytes(b"")  # what a killed writer leaves
    code, _, made = check(data)
    assert code == 0 and made["in_no_split"] == {str(data / IMAGES): 1}
    assert f"{data / IMAGES}: 1 more file, in none of these splits" in capsys.readouterr().out


@pytest.mark.parametrize("damage", [None, b"", b"\xff\xfe\0", b"../../etc/passwd\n"])
def test_a_list_that_cannot_be_read_is_a_row_and_the_other_split_is_checked(data, damage, capsys):
    (data / LISTS / "train.txt").unlink()
    if damage is not None:
        (data / LISTS / "train.txt").write_bytes(damage)
    truncated(data / IMAGES / "b2.jpg")
    code, rows, made = check(data)
    assert code == 1
    assert [row[:2] for row in rows] == [("train", "-"), ("val", "b2")]
    assert rows[0][2].startswith("train.txt")
    assert [(s["images"], s["ok"], s["bad"]) for s in made["splits"]] == [(0, 0, 1), (3, 2, 1)]
    train = next(x for x in capsys.readouterr().out.splitlines()[-2:] if x.startswith("train"))
    assert train.split() == ["train", "0", "0", "1", "cannot", "be", "read"]


def test_shares_of_the_classes_are_those_of_the_labels(data, capsys):
    other_size(data / LABELS / "a1.png")  # its pixels are sound, and count
    out_of_range(data / LABELS / "a2.png")  # these do not
    _, _, made = check(data)
    labels = [read_label(data / LABELS / f"{name}.png") for name in TRAIN if name != "a2"]
    expected = [
        {
            "name": name,
            "pixels": sum(int((label == value).sum()) for label in labels),
            "images": sum(bool((label == value).any()) for label in labels),
        }
        for name, value in [("sky", 0), ("road", 1), ("car", 2), ("tree", 3), ("void", 255)]
    ]
    assert made["splits"][0]["classes"] == expected
    road = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("road"))
    share = 100 * expected[1]["pixels"] / sum(row["pixels"] for row in expected)
    assert road.split() == ["road", f"{share:.2f}", "4"]


def test_problems_of_one_kind_are_counted_and_the_first_few_shown(data, capsys):
    names = [f"c{n}" for n in range(40)]
    for name in names:
        shutil.copy(data / IMAGES / "a1.jpg", data / IMAGES / f"{name}.jpg")
        in_colours(data / LABELS / f"{name}.png")
    (data / LISTS / "train.txt").write_text("\n".join([*TRAIN, *names]))
    missing(data / LABELS / "a5.png")
    code, rows, made = check(data)
    assert code == 1 and len(made["problems"]) == 81
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.endswith("problem")) + 1
    shown = [line.split()[:2] for line in lines[at : lines.index("", at)]]
    more = ["train", "…"]
    assert shown == [["train", "a5"], *(["train", f"c{n}"] for n in range(3)), more,
                     *(["train", f"c{n}"] for n in range(3)), more]  # fmt: skip
    assert sum("… and 37 more like the last (--all shows them)" in line for line in lines) == 2
    check(data, "--all")
    out = capsys.readouterr().out
    assert "more like the last" not in out and out.count("label in RGB colours") == 40


def test_a_list_with_extensions_is_told_by_its_cause_and_counted(data, capsys):
    (data / LISTS / "train.txt").write_text("".join(f"{name}.jpg\n" for name in TRAIN))
    code, rows, _ = check(data)
    assert code == 1 and len(rows) == 5
    assert {row[2] for row in rows} == {"train.txt"}
    assert rows[0][3] == (
        "'a1.jpg' has an extension; write one id a line, e.g. a1: "
        "no folder, no extension, no second column"
    )
    assert "… and 2 more like the last" in capsys.readouterr().out


def test_two_photographs_of_one_id_are_a_problem(data):
    shutil.copy(data / IMAGES / "a3.jpg", data / IMAGES / "a3.PNG")
    code, rows, _ = check(data)
    assert code == 1
    the_same(rows, [("train", "a3", "a3.PNG", "more than one image of this id (a3.PNG, a3.jpg)")])


def test_endings_in_upper_case_are_as_good_and_hidden_files_are_not_counted(data):
    for name in TRAIN:
        (data / IMAGES / f"{name}.jpg").rename(data / IMAGES / f"{name}.JPG")
    for name in ("._a1.jpg", ".DS_Store", "Thumbs.db"):
        (data / IMAGES / name).write_bytes(b"x")
    (data / IMAGES / "c.Tiff").write_bytes(b"x")
    code, rows, made = check(data)
    assert (code, rows) == (0, []) and made["in_no_split"] == {str(data / IMAGES): 1}


def test_a_built_in_task_is_checked_and_other_counts_are_warned_of(tmp_path, capsys):
    write_voc(tmp_path / "voc", train=TRAIN, seg12val=VAL)
    write_sbd(tmp_path / "sbd", train=["s1", "s2"], val=["s3", "b1"])
    assert check_data.main(["--task", "voc", "--data", str(tmp_path), "--jobs", "1"]) == 0
    warnings = capsys.readouterr().err
    assert "5 ids; the published split train has 1464" in warnings
    assert "3 ids; the published split seg12val has 346" in warnings
    truncated(tmp_path / "sbd/cls/s2.mat")
    assert check_data.main(["--task", "sbd", "--data", str(tmp_path), "--jobs", "1"]) == 1
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = table[table.index(["split", "id", "file", "problem"]) + 1 :][:2]
    assert rows[0][:3] == ["trainval", "s2", str(tmp_path / "sbd/cls/s2.mat")]
    assert rows[1][:2] == ["seg12val", "b1"] and "trainval" in rows[1]


@pytest.mark.slow
def test_nyud_is_checked_in_the_tops_of_the_task(tmp_path, capsys):
    root = write_nyud(tmp_path / "nyud", trainval=["1", "2", "3"], test=["4", "5"])
    call = ["--data", str(tmp_path), "--jobs", "1", "--task"]
    for task in ("nyud-rgb", "nyud-hha", "nyud-rgbd"):
        assert check_data.main([*call, task]) == 0, task
    missing(root / "data/depth/img_2.png")
    truncated(root / "segmentation/img_2.mat")
    capsys.readouterr()
    assert check_data.main([*call, "nyud-rgb"]) == 1
    assert "img_2.png" not in capsys.readouterr().out
    assert check_data.main([*call, "nyud-rgbd"]) == 1
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if line.startswith("trainval  2 ")]
    assert [os.path.basename(row[2]) for row in rows] == ["img_2.png", "img_2.mat"]
    assert "otherprop" in out


def test_pascal_context_is_checked_and_a_damaged_class_list_is_refused(tmp_path, capsys):
    context = write_context(tmp_path / "pascal", tmp_path / "pascal-context", train=TRAIN, val=VAL)
    call = ["--task", "pascal-context", "--data", str(tmp_path), "--jobs", "1"]
    assert check_data.main(call) == 0
    (context / "labels.txt").write_text("1: a\n2 b\n")
    assert refused(*call).startswith(f"{context}/labels.txt:2: '2 b' is not")


def test_the_data_layers_of_nets_are_checked_each_split_once(data, tmp_path, capsys):
    voc = {"voc_dir": str(data), "mean": (1.0, 2.0, 3.0), "classes": 4}
    nets = [
        net(tmp_path / "train.prototxt", "train", **voc, seed=1),
        net(tmp_path / "train2.prototxt", "train", **voc, mirror=True),
        net(tmp_path / "val.prototxt", "val", **voc),
    ]
    truncated(data / LABELS / "a2.png")
    assert check_data.main([*itertools.chain(*(("--net", n) for n in nets)), "--jobs", "1"]) == 1
    out = capsys.readouterr().out
    assert [line.split()[:4] for line in out.splitlines()[-2:]] == [
        ["train", "5", "4", "1"],
        ["val", "3", "3", "0"],
    ]
    assert "class 3" in out


def test_a_leak_is_found_between_the_phases_of_one_net(data, tmp_path, capsys):
    (data / LISTS / "test.txt").write_text("b1\na1\n")
    voc = {"voc_dir": str(data), "mean": (1.0, 2.0, 3.0), "classes": 4}
    one = net(tmp_path / "one.prototxt", "train", include="} include { phase: TRAIN }", **voc)
    text = (tmp_path / "one.prototxt").read_text()
    text = text.replace('top: "label" }', 'top: "label"')
    text += text.replace("TRAIN", "TEST").replace("'train'", "'test'")
    (tmp_path / "one.prototxt").write_text(text)
    assert check_data.main(["--net", one, "--jobs", "1"]) == 1
    row = next(line for line in capsys.readouterr().out.splitlines() if "in train too" in line)
    assert row.split()[:2] == ["test", "a1"]


def refused(*arguments):
    with pytest.raises(Exception) as caught:
        check_data.main([str(a) for a in arguments])
    assert getattr(caught.value, "exit_code", None) == 2, repr(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_data_set_that_is_not_there_is_refused_in_one_line(data, tmp_path):
    shutil.rmtree(data / LISTS)
    told = refused("--own", write_toml(tmp_path / "x.toml", data))
    assert told.startswith(f"{data / LISTS}/train.txt: no such split file, nor is there its folder")
    assert told.endswith("; the lists of the other splits cannot be read either")
    told = refused("--task", "voc", "--data", tmp_path)
    assert told.startswith(f"{tmp_path}/voc/{LISTS}/train.txt: no such split file")
    one = net(tmp_path / "one.prototxt", "val", voc_dir=str(tmp_path), mean=(1.0, 2.0, 3.0))
    assert refused("--net", one).endswith("is the data set's folder right?")


def test_a_file_of_somebody_elses_is_kept(data, tmp_path):
    (tmp_path / "settings.json").write_text('{"mine": 1}')
    toml = write_toml(tmp_path / "x.toml", data)
    told = refused("--own", toml, "--json", tmp_path / "settings.json")
    assert "settings.json: the file that is there is not" in told
    assert (tmp_path / "settings.json").read_text() == '{"mine": 1}'


def test_wrong_calls_are_refused_in_one_line(data, tmp_path):
    toml = write_toml(tmp_path / "x.toml", data)
    assert "--jobs 0" in refused("--own", toml, "--jobs", 0)
    assert "no such folder" in refused("--task", "voc", "--data", tmp_path / "none")
    assert "none.toml" in refused("--own", tmp_path / "none.toml")
    assert "--data" in refused("--net", "x", "--data", tmp_path)
    (tmp_path / "deploy.prototxt").write_text('layer { name: "data" type: "Input" top: "data" }')
    assert "no Python data layer" in refused("--net", tmp_path / "deploy.prototxt")
    bad = net(tmp_path / "bad.prototxt", "val", voc_dirr="x")
    assert "bad.prototxt: VOCSegDataLayer: unknown key 'voc_dirr'" in refused("--net", bad)
    for call in ([], ["--task", "vocc"], ["--task", "voc", "--own", "x.toml"]):
        with pytest.raises(SystemExit) as caught:
            check_data.main(call)
        assert caught.value.code == 2


def test_a_layer_that_cannot_list_its_files_is_refused():
    with pytest.raises(UserError, match="object cannot list its files"):
        check_data._split("x.prototxt", "train", object, "")


@pytest.mark.slow
def test_real_camvid_is_clean(shared, root, capsys):
    toml = root / "prototxt/examples/camvid.toml"
    assert check_data.main(["--own", str(toml), "--data", str(shared / "data/camvid")]) == 0
    table = [line.split()[:4] for line in capsys.readouterr().out.splitlines()]
    assert table[-2:] == [["train", "367", "367", "0"], ["val", "101", "101", "0"]]


@pytest.mark.slow
def test_real_voc_samples_are_clean_and_their_splits_overlap(shared, tmp_path, capsys):
    voc = shared / "data/voc-samples"
    params = {"voc_dir": str(voc), "mean": (1.0, 2.0, 3.0)}
    nets = [net(tmp_path / f"{split}.prototxt", split, **params) for split in ("train", "val")]
    for path in nets:
        assert check_data.main(["--net", path]) == 0
    assert check_data.main(["--net", nets[0], "--net", nets[1]]) == 1
    out = capsys.readouterr().out
    assert out.count("is in train too") == 3
    assert [line.split()[:4] for line in out.splitlines()[-2:]] == [
        ["train", "3", "3", "0"],
        ["val", "3", "0", "3"],
    ]
