"""The recipe of docs/own-data.md makes labels out of masks as people have them."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from segmentation.pictures import read_label

CLASSES = {(0, 0, 0): 0, (255, 255, 255): 1, (128, 0, 0): 2, (224, 224, 192): 255}
VALUES = np.random.RandomState(0).choice(list(CLASSES.values()), (9, 12)).astype(np.uint8)


@pytest.fixture
def recipe(root, tmp_path):
    """recipe(image) runs the page's script on one mask: (what it ended with, its label's path)."""
    page = (root / "docs/own-data.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"## Masks\n.*?```python\n(.*?)```", page, re.S)
    (tmp_path / "masks.py").write_text(script)
    (tmp_path / "drawn").mkdir()

    def run(image):
        image.save(tmp_path / "drawn" / "a.png")
        call = [sys.executable, "masks.py", "drawn", "labels"]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
        return done, str(tmp_path / "labels" / "a.png")

    return run


def coloured():
    rgb = np.zeros((*VALUES.shape, 3), np.uint8)
    for colour, value in CLASSES.items():
        rgb[value == VALUES] = colour
    return rgb


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_masks_in_colours_become_class_numbers(recipe, mode):
    image = Image.fromarray(coloured())
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    done, label = recipe(image)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(read_label(label), VALUES)


@pytest.mark.parametrize("mode", ["L", "1", "RGB"])
def test_masks_of_0_and_255_become_0_and_1(recipe, mode):
    mask = np.where(VALUES == 1, 255, 0).astype(np.uint8)
    done, label = recipe(Image.fromarray(mask).convert(mode))
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(read_label(label), VALUES == 1)


def test_a_colour_without_a_class_ends_it_with_the_colour(recipe):
    rgb = coloured()
    rgb[3, 4] = 1, 2, 3
    done, _ = recipe(Image.fromarray(rgb))
    assert done.returncode == 1 and "a.png: no class for the colour [1, 2, 3]" in done.stderr
