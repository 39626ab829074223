"""What can be read and is hardly meant is warned of, and is no problem."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from segmentation.pictures import read_label

from tests.helpers.checked_data import check, draw, warned, without
from tests.helpers.data_sets import (
    CLASSES,
    IMAGES,
    LABELS,
    LISTS,
    TRAIN,
    VAL,
    in_colours,
    write_toml,
    write_voc,
)
from tools import check_data
from tools.common.pictures import voc_palette


def test_sound_data_has_no_warning(data, capsys):
    assert warned(data) == (0, set())
    assert "  warning" not in capsys.readouterr().out


def test_a_class_that_occurs_only_in_val_is_warned_of_and_is_no_problem(data, capsys):
    draw(data, TRAIN, without(2))
    told = "class 2 (car) occurs only in val: a net cannot learn it"
    assert warned(data) == (0, {("train", "-", "train.txt", told)})
    out = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(out) if line.startswith("split  id"))
    assert out[at].split() == ["split", "id", "file", "warning"]
    assert out[at + 1].endswith("train.txt  " + told)


def test_classes_that_occur_nowhere_or_only_in_train_are_warned_of(data):
    draw(data, TRAIN + VAL, without(1, 3))
    draw(data, VAL, without(2))
    draw(data, ["b1"], lambda label: np.where(label == 255, 0, label))
    rows = {(split, text) for split, _, _, text in warned(data)[1]}
    nowhere = "classes 1 (road) and 3 (tree) occur in no split: a net cannot learn them"
    only = "class 2 (car) occurs only in train: val does not score it"
    assert {("train", nowhere), ("val", only)} <= rows


def test_what_classes_occur_is_said_of_the_labels_that_can_be_read(data):
    draw(data, TRAIN + VAL, without(3))
    draw(data, TRAIN, without(2))
    in_colours(data / LABELS / "a5.png")
    assert {text for _, _, _, text in warned(data)[1]} == {
        "class 2 (car) occurs only in val of the labels that could be read: a net cannot learn it",
        "class 3 (tree) occurs in none of the labels that could be read: a net cannot learn it",
    }


def test_of_a_train_split_that_cannot_be_read_no_class_is_missed(data):
    (data / LISTS / "train.txt").unlink()
    draw(data, VAL, without(3))
    assert warned(data) == (1, set())


def test_masks_of_0_and_255_are_warned_of_in_whole_and_each(data, tmp_path):
    draw(data, TRAIN + VAL, lambda label: np.where(label == 1, 255, 0))
    toml = write_toml(tmp_path / "two.toml", data)
    toml.write_text(toml.read_text().replace(str(list(CLASSES)), '["background", "cell"]'))
    out = tmp_path / "out.json"
    assert check_data.main(["--own", str(toml), "--jobs", "1", "--json", str(out)]) == 0
    rows = [(w["split"], w["id"], w["warning"]) for w in json.loads(out.read_text())["warnings"]]
    for split, names in (("train", TRAIN), ("val", VAL)):
        text = next(text for s, name, text in rows if (s, name) == (split, "-") and "hold" in text)
        assert text.startswith("the labels hold only 0 and 255, and 255 is void: only class 0")
        assert "docs/own-data.md" in text
        each = [name for s, name, text in rows if s == split and text.startswith("holds only 0")]
        assert each == names


def test_one_mask_of_0_and_255_among_right_ones_is_found(data):
    draw(data, ["a3"], lambda label: np.where(label > 1, 255, 0))
    code, rows = warned(data)
    ((split, name, file, text),) = rows
    assert (code, split, name, file) == (0, "train", "a3", "a3.png")
    assert text.startswith("holds only 0 and 255, and 5") and text.endswith("% of it is void (255)")


def test_a_border_of_void_around_things_is_no_warning(data):
    def bordered(label):
        label = label * 0
        label[8:12] = 255
        return label

    draw(data, ["a3"], bordered)
    assert warned(data)[1] == set()


def test_a_split_that_is_mostly_void_is_warned_of_with_its_share(data):
    def mostly(label):
        label[6:] = 255
        return label

    draw(data, VAL, mostly)
    ((split, name, _, text),) = warned(data)[1]
    assert (split, name) == ("val", "-") and text.startswith("75.")
    assert text.endswith("% of the pixels are void (255): neither learned nor scored")


def test_images_that_are_void_everywhere_are_counted(data):
    draw(data, ["a1", "a4"], lambda label: label * 0 + 255)
    assert ("train", "-", "train.txt", "2 images are void (255) everywhere: a1, a4") in (
        warned(data)[1]
    )


def test_masks_that_are_all_of_one_class_are_warned_of(data):
    draw(data, TRAIN + VAL, lambda label: label * 0 + 3)
    texts = {(split, text) for split, _, _, text in warned(data)[1]}
    told = "all labels are of one class, 3: there is nothing to tell apart"
    assert {("train", told), ("val", told)} <= texts


def test_a_thumbnail_beside_large_photographs_is_warned_of(data):
    for name in ("a2", "b1"):
        size = (10, 8) if name == "a2" else (24, 20)  # others: 31x24
        for folder, ending in ((IMAGES, ".jpg"), (LABELS, ".png")):
            with Image.open(data / folder / (name + ending)) as image:
                image.resize(size, Image.NEAREST).save(data / folder / (name + ending))
    rows = warned(data)[1]
    told = "10x8 pixels, where 31 is usual for the longer side: a thumbnail?"
    assert ("train", "a2", "a2.jpg", told) in rows and len(rows) == 1


@pytest.mark.parametrize("value", [2, 3, 4])
def test_a_turned_photograph_whose_size_tells_nothing_is_warned_of(data, value):
    exif = Image.Exif()
    exif[0x0112] = value
    with Image.open(data / IMAGES / "a2.jpg") as image:
        image.save(data / IMAGES / "a2.jpg", exif=exif)
    ((split, name, file, text),) = warned(data)[1]
    assert (split, name, file) == ("train", "a2", "a2.jpg")
    assert text.startswith(f"EXIF orientation {value}: the photograph is read as it is shown")


def test_a_photograph_on_its_side_is_right_if_its_label_is_and_else_a_problem(data):
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(data / IMAGES / "a2.jpg") as image:
        image.save(data / IMAGES / "a2.jpg", exif=exif)
    code, ((*_, file, text),), _ = check(data)
    assert code == 1 and file == "a2.png" and "EXIF orientation 6" in text
    draw(data, ["a2"], lambda label: np.rot90(label, -1))
    assert warned(data) == (0, set())


def test_a_palette_of_its_own_is_warned_of(data):
    with Image.open(data / LABELS / "a2.png") as image:
        label = np.asarray(image)
        swapped = np.array([0, 2, 1, 3, *range(4, 256)], np.uint8)[label]
        palette = np.array(image.getpalette()).reshape(-1, 3)
    palette[[1, 2]] = palette[[2, 1]]
    image = Image.fromarray(swapped)
    image.putpalette(palette.ravel().tolist())
    image.save(data / LABELS / "a2.png")
    ((split, name, file, text),) = warned(data)[1]
    assert (split, name, file) == ("train", "a2", "a2.png")
    assert text.startswith("palette: value 1 has the colour 2 253 1, elsewhere 1 254 0")


def test_labels_whose_palette_has_vocs_colours_at_other_numbers_are_warned_of(tmp_path, capsys):
    voc = write_voc(tmp_path / "voc", train=TRAIN, seg12val=VAL)
    colours = voc_palette()
    colours[[1, 2]] = colours[[2, 1]]
    for name in TRAIN + VAL:
        image = Image.fromarray(read_label(voc / LABELS / f"{name}.png"))
        image.putpalette(colours.ravel().tolist())
        image.save(voc / LABELS / f"{name}.png")
    assert check_data.main(["--task", "voc", "--data", str(tmp_path), "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert out.count("VOC's colours stand at other numbers") == 6
    assert "… and 2 more like the last" in out
