"""A TOML is written from what lies in a folder, and reads the labels that are meant."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from voc_layers import VOCSegDataLayer

from prototxt import own
from tests.helpers import found_data as made
from tools import check_data, new_task
from tools.common import cli
from tools.datasets.layouts import by_hash

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="needs tomllib")

IDS = [f"f{i:02d}" for i in range(6)]
CAMVID = {0: (128, 128, 128), 1: (128, 64, 128), 2: (64, 0, 128), 255: (0, 0, 0)}


def ran(main, argv):
    with pytest.raises(SystemExit) as caught:
        cli.run(main, argv)
    return caught.value.code


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The folder of a data set, beside which the command runs."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "set"
    root.mkdir()
    return root


@pytest.fixture
def written(work, capsys):
    """written() -> (Task, {id: label as class names' numbers}) of the TOML made of the folder."""

    def run(*more):
        before = sorted(path for path in work.rglob("*"))
        assert ran(new_task.main, ["set", "--out", "my.toml", *more]) == 0, capsys.readouterr().err
        assert sorted(path for path in work.rglob("*")) == before
        task = own.load("my.toml")
        labels = {}
        for source in (task.train, task.val):
            params = VOCSegDataLayer.parse(
                {source.folder_key: source.folder, "split": source.split, "mean": source.mean,
                 **dict(source.extra)}
            )  # fmt: skip
            split = VOCSegDataLayer.open_source(params)
            for name in split.ids:
                labels[name] = VOCSegDataLayer.read_item(params, split, name)["label"]
        return task, labels

    return run


def by_names(task, label, names=made.NAMES):
    """A label as the numbers of `names`."""
    table = np.full(256, 254, np.uint8)
    table[255] = 255
    for number, name in enumerate(task.classes):
        table[number] = names.index(name) if name in names else 250
    return table[label]


def assert_labels(task, labels, wanted, names=made.NAMES):
    assert sorted(labels) == sorted(wanted)
    for name, label in labels.items():
        np.testing.assert_array_equal(by_names(task, label, names), wanted[name])


FOLDERS = {
    # layout: (photograph, mask, id) of an id and its split
    "images and labels": ("images/{id}", "labels/{id}", "{id}"),
    "images/train": ("images/{split}/{id}", "labels/{split}/{id}", "{split}/{id}"),
    "train/images": ("{split}/images/{id}", "{split}/masks/{id}", "{id}"),
    "train and trainannot": ("{split}/{id}", "{split}annot/{id}", "{id}"),
    "a suffix": ("701_StillsRaw/{id}", "LabeledApproved/{id}_L", "{id}"),
    "masks beside photographs": ("all/{id}", "all/{id}_mask", "{id}"),
    "VOC": ("JPEGImages/{id}", "SegmentationClass/{id}", "{id}"),
}


@pytest.mark.parametrize("mode", ["RGB", "P"])
@pytest.mark.parametrize("layout", FOLDERS)
def test_photographs_and_masks_are_found_in_their_folders(work, written, layout, mode):
    image, label, name = FOLDERS[layout]
    wanted = {}
    for seed, each in enumerate(IDS):
        place = {"id": each, "split": "train" if seed < 4 else "val"}
        made.photograph(work / image.format(**place), seed)
        truth = made.truth(seed)
        made.mask(work / label.format(**place), truth, CAMVID, mode)
        wanted[name.format(**place)] = truth
    task, labels = written()
    assert {"sky", "road", "car"} <= set(task.classes)
    assert_labels(task, labels, wanted)
    assert ran(check_data.main, ["--own", "my.toml", "--jobs", "1"]) == 0
    if "{split}" in image:
        assert (task.train.split, task.val.split, task.val.images) == ("train", "val", 2)


def test_lists_that_are_there_are_taken(work, written):
    for folder, names in (("train", IDS[1:]), ("val", IDS[:1]), ("test", IDS[:2])):
        path = work / "ImageSets/Segmentation" / f"{folder}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}\n" for name in names))
    for seed, name in enumerate(IDS):
        made.photograph(work / "JPEGImages" / name, seed)
        made.mask(work / "SegmentationClass" / name, made.truth(seed))
    task, labels = written()
    assert task.val.images == 1 and dict(task.val.extra)["split_dir"] == "ImageSets/Segmentation"
    assert task.classes == ("class 0", "class 1", "class 2")
    for seed, name in enumerate(IDS):
        np.testing.assert_array_equal(labels[name], made.truth(seed))
    assert "name them yourself" in Path("my.toml").read_text()


def test_names_beside_the_labels_are_taken(work, written):
    for seed, name in enumerate(IDS):
        made.photograph(work / "images" / name, seed)
        made.mask(work / "labels" / name, made.truth(seed))
    (work / "classes.txt").write_text("sky\nroad\ncar\n")
    task, _ = written()
    assert task.classes == made.NAMES


@pytest.mark.parametrize(
    "name, text",
    [
        ("labelmap.txt", "# label:color_rgb:parts:actions\nhill:1,2,3::\nsea:4,5,6::\n"
                         "ignored:9,9,9::\nboat:7,7,7::\n"),
        ("label_colors.txt", "1 2 3\thill\n4 5 6\tsea\n9 9 9\tvoid\n7 7 7 boat\n"),
        ("class_dict.csv", "name,r,g,b\nhill,1,2,3\nsea,4,5,6\nvoid,9,9,9\nboat,7,7,7\n"),
    ],
)  # fmt: skip
def test_a_table_of_colours_beside_the_labels_is_taken(work, written, name, text):
    colours = {0: (1, 2, 3), 1: (4, 5, 6), 2: (7, 7, 7), 255: (9, 9, 9)}
    wanted = {}
    for seed, each in enumerate(IDS):
        made.photograph(work / "images" / each, seed)
        wanted[each] = made.truth(seed)
        made.mask(work / "labels" / each, wanted[each], colours)
    (work / name).write_text(text)
    task, labels = written()
    assert task.classes == ("hill", "sea", "boat")
    assert_labels(task, labels, wanted, ("hill", "sea", "boat"))


def test_masks_of_0_and_255_are_of_two_classes(work, written):
    for seed, name in enumerate(IDS):
        made.photograph(work / "images" / name, seed)
        made.mask(work / "masks" / name, np.where(made.truth(seed) == 1, 255, 0).astype(np.uint8))
    task, labels = written()
    assert task.classes == ("background", "foreground")
    np.testing.assert_array_equal(labels[IDS[2]], made.truth(2) == 1)


@pytest.mark.parametrize("kind", ["labelTrainIds", "color", "labelIds"])
def test_cityscapes_is_read_as_it_lies(work, written, kind):
    wanted, names = {}, ("sky", "road", "car")
    table = {"labelTrainIds": (10, 0, 13, 255), "labelIds": (23, 7, 26, 4)}
    for seed, each in enumerate(IDS):
        place = f"{'train' if seed < 4 else 'val'}/town/town_{each}"
        made.photograph(work / "leftImg8bit" / f"{place}_leftImg8bit", seed, ".png")
        truth = wanted[place] = made.truth(seed)
        target = work / "gtFine" / f"{place}_gtFine_{kind}"
        if kind == "color":
            colours = {0: (70, 130, 180), 1: (128, 64, 128), 2: (0, 0, 142), 255: (81, 0, 81)}
            made.mask(target, truth, colours, "RGBA")
        else:
            values = np.zeros(256, np.uint8)
            values[[0, 1, 2, 255]] = table[kind]
            made.mask(target, values[truth])
    task, labels = written()
    assert len(task.classes) == 19 and task.palette[0] == (128, 64, 128)
    assert (task.train.split, task.val.images) == ("train", 2)
    assert_labels(task, labels, wanted, names)


def background_for_void(labels):
    """What new_task.py writes: pixels that no annotation covers are background, 250 here."""
    return {name: np.where(label == 255, 250, label) for name, label in labels.items()}


@pytest.mark.parametrize("apart", [False, True])
def test_labelme_files_beside_photographs_are_found(work, written, apart):
    wanted = {}
    for seed, name in enumerate(IDS):
        made.photograph(work / "photos" / name, seed)
        place = work / ("json" if apart else "photos") / name
        wanted[name] = made.labelme(place, made.truth(seed, void=False))
    task, labels = written()
    assert task.classes == ("background", "car", "road", "sky")
    assert_labels(task, labels, background_for_void(wanted))


@pytest.mark.parametrize(
    "file, images, splits",
    [
        ("annotations/instances_{split}.json", "{split}", ("train2017", "val2017")),
        ("annotations/instances_{split}.json", "images/{split}", ("train2017", "val2017")),
        ("annotations/{split}.json", "images", ("train", "val")),
        ("{split}/_annotations.coco.json", "{split}", ("train", "valid")),
    ],
)
def test_coco_files_of_two_splits_are_found(work, written, file, images, splits):
    wanted = {}
    for split, names in zip(splits, (IDS[:4], IDS[4:])):
        truths = {name: made.truth(IDS.index(name), void=False) for name in names}
        for name in names:
            made.photograph(work / images.format(split=split) / name, IDS.index(name))
        wanted.update(made.coco(work / file.format(split=split), truths))
    task, labels = written()
    assert (task.train.split, task.val.split) == splits and task.val.images == 2
    assert_labels(task, labels, background_for_void(wanted))
    assert ran(check_data.main, ["--own", "my.toml", "--jobs", "1"]) == 0


@pytest.mark.parametrize("kind", ["coco", "cvat"])
def test_one_file_of_annotations_is_split_by_a_hash(work, written, kind):
    truths = {name: made.truth(seed, void=False) for seed, name in enumerate(IDS)}
    for seed, name in enumerate(IDS):
        made.photograph(work / "images" / name, seed)
    file = work / ("annotations.json" if kind == "coco" else "annotations.xml")
    wanted = getattr(made, kind)(file, truths)
    task, labels = written()
    assert_labels(task, labels, background_for_void(wanted))


def test_photographs_of_bands_get_channels_and_their_measured_mean(work, written):
    from tests.data_layers.test_channels import tiff

    pytest.importorskip("tifffile")
    (work / "images").mkdir()
    for seed, name in enumerate(IDS):
        array = np.full((8, 10, 4), 257 * 10, np.uint16)
        array[..., 3] = 257 * 200
        tiff(work / "images" / f"{name}.tif", array)
        made.mask(work / "labels" / name, made.truth(seed))
    task, _ = written()
    extra = dict(task.train.extra)
    assert extra["channels"] == [1, 2, 3, 4] and extra["pixel_scale"] == pytest.approx(1 / 257)
    assert task.train.mean == pytest.approx((10, 10, 10, 200))


def test_a_split_by_hash_keeps_an_ids_place_and_is_about_80_to_20():
    ids = [f"id {i}" for i in range(2000)]
    whole, part = by_hash(ids), by_hash(ids[::3])
    assert set(part["train"]) <= set(whole["train"]) and set(part["val"]) <= set(whole["val"])
    assert 0.77 < len(whole["train"]) / 2000 < 0.83
    assert not set(whole["train"]) & set(whole["val"])
    for i in range(0, 60, 2):
        two = by_hash(ids[i : i + 2])
        assert len(two["train"]) == len(two["val"]) == 1 and two["train"] != two["val"]
    assert by_hash(["a"]) == {"train": ["a"], "val": ["a"]}


def test_a_second_run_writes_the_same_and_never_over_anothers_file(work, written, capsys):
    for seed, name in enumerate(IDS):
        made.photograph(work / "images" / name, seed)
        made.mask(work / "labels" / name, made.truth(seed))
    written()
    first = Path("my.toml").read_text()
    written()
    assert Path("my.toml").read_text() == first
    with open("my.toml", "w") as file:
        file.write('name = "mine"\n')
    assert ran(new_task.main, ["set", "--out", "my.toml"]) == 2
    assert "my.toml: the file that is there is not a TOML" in capsys.readouterr().err
    assert Path("my.toml").read_text() == 'name = "mine"\n'


def test_nothing_is_written_into_the_folder_unless_told(work, monkeypatch, capsys):
    for seed, name in enumerate(IDS):
        made.photograph(work / "images" / name, seed)
        made.mask(work / "labels" / name, made.truth(seed))
    monkeypatch.chdir(work)
    assert ran(new_task.main, ["."]) == 2
    assert "set.toml would lie in .; name a place with --out" in capsys.readouterr().err
    assert sorted(p.name for p in work.iterdir()) == ["images", "labels"]
    assert ran(new_task.main, [".", "--out", "here.toml"]) == 0
    assert (work / "here.toml").is_file()


@pytest.mark.parametrize(
    "argv, said",
    [
        (["nowhere"], "nowhere: no such folder"),
        (["set"], "set: no photographs with labels are known in it; looked for"),
        (["set", "--out", "my.txt"], "--out my.txt: the name must end in .toml"),
        (["set", "--name", "a b"], "--name: 'a b' must be letters"),
        (["set", "--name", "voc"], "--name voc: is a built-in task"),
    ],
)
def test_a_wrong_call_is_one_line(work, capsys, argv, said):
    Image.new("RGB", (4, 4)).save(work / "lonely.jpg")
    assert ran(new_task.main, argv) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_a_photograph_among_masks_is_named(work, capsys):
    for seed, name in enumerate(IDS):
        made.photograph(work / "images" / name, seed)
        noise = np.random.RandomState(seed).randint(0, 256, (30, 30, 3)).astype(np.uint8)
        (work / "labels").mkdir(exist_ok=True)
        Image.fromarray(noise).save(work / "labels" / f"{name}.png")
    assert ran(new_task.main, ["set"]) == 2
    assert "f00.png: 900 colours: a photograph, or a mask" in capsys.readouterr().err
