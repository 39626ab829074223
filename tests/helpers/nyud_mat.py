"""NYUDv2's labelled file in small, and tools/nyud.py run on it."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from PIL import Image

from tools import nyud
from tools.common import cli

NAMES = ["book", "wall", "stacked bins / boxes", "floor", "bag"]  # classes 40, 1, 40, 2, 37
ROWS, COLUMNS = np.mgrid[:480, :640]


def frame(i):
    """What frame i holds, rows x columns, alike in no two directions."""
    depth = (1000 + 2 * ROWS + 3 * COLUMNS + i) / 1000
    return {
        "images": np.stack([ROWS // 2, COLUMNS // 3, np.full_like(ROWS, 10 * i)], 2).astype("u1"),
        "depths": depth.astype("f4"),
        "rawDepths": np.where(COLUMNS < 300 - ROWS // 2, 0, depth).astype("f4"),
        "labels": ((ROWS // 100 + COLUMNS // 200 + i) % 6).astype("u2"),
    }


def write_mat(path, names=NAMES, frames=3, **changes):
    """A MATLAB 7.3 file as MATLAB writes it; `changes` replace variables (None leaves one out)."""
    stacks = {k: np.stack([frame(i)[k].T for i in range(frames)]) for k in frame(0)}
    stacks.update(changes)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in stacks.items():
            if value is not None:
                file.create_dataset(
                    name, data=value, chunks=(1, *value.shape[1:]), compression="gzip"
                )
        if names is not None:
            cell = np.empty((1, len(names)), h5py.ref_dtype)
            for i, name in enumerate(names):
                codes = np.array([[ord(letter)] for letter in name], np.uint16)
                cell[0, i] = file.create_dataset(f"#refs#/{i}", data=codes).ref
            file.create_dataset("names", data=cell, dtype=h5py.ref_dtype)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def stack(name):
    return np.stack([frame(i)[name].T for i in range(3)])


def place(folder, original, capsys):
    """A copy of the file `original`: `mat`, `out`, `folder`, and `run(*arguments)`, which gives
    exit code, stdout and stderr."""
    mat, out = folder / "labeled.mat", folder / "nyud"
    shutil.copy(original, mat)

    def run(*more):
        with pytest.raises(SystemExit) as caught:
            cli.run(nyud.main, [str(mat), "--out", str(out), "--jobs", "2", *map(str, more)])
        text = capsys.readouterr()
        return caught.value.code, text.out, text.err

    return SimpleNamespace(mat=mat, out=out, run=run, folder=folder)


def one_error(found, code, *parts):
    """`found` is `code` and one line `error: ...` with all `parts`."""
    errors = [line for line in found[2].splitlines() if not line.startswith("frames ")]
    assert found[0] == code and len(errors) == 1 and errors[0].startswith("error: "), found
    assert all(part in errors[0] for part in parts), errors[0]


def read(path):
    with Image.open(path) as image:
        return image.mode, np.asarray(image)


def files(out):
    return sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
