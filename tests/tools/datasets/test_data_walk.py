"""Reading every file in worker processes: any layer's tops, crashes, interruption."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from segmentation.files import find
from segmentation.layer import COMMON, SegmentationLayer, Source
from segmentation.lists import read_split
from segmentation.params import REQUIRED, folder
from segmentation.pictures import read_label, read_rgb

from tests.helpers.data_sets import (
    LABELS,
    missing,
    net,
    out_of_range,
    truncated,
    write_toml,
)
from tests.helpers.processes import environment, gone, wait_until
from tools import check_data
from tools.datasets import data_walk


class ThreeTopsLayer(SegmentationLayer):
    """Colour and depth pictures with a label whose layer alone knows its classes."""

    schema = {"root": (folder, REQUIRED), **COMMON}

    @classmethod
    def top_names(cls, params):
        return ("depth", "color", "label")

    @classmethod
    def class_count(cls, params):
        return 4

    @classmethod
    def open_source(cls, params):
        def paths(name):
            tops = ("color", "depth", "label")
            return {
                top: find(f"{params['root']}/{top}", f"img_{name}", (".png",), top) for top in tops
            }

        def read(paths):
            readers = {"color": read_rgb, "depth": read_label, "label": read_label}
            if os.path.basename(paths["color"]) == "img_killer.png":
                os.kill(os.getpid(), signal.SIGKILL)
            return {top: readers[top](path) for top, path in paths.items()}

        where = f"{params['root']}/{params['split']}.txt"
        return Source(read_split(where), where, paths, read)


@pytest.fixture
def three(tmp_path):
    """A data set with three files an id, as one Split."""
    ids = ["1", "2", "3", "killer"]
    for number, (top, name) in enumerate(itertools.product(("color", "depth", "label"), ids)):
        (tmp_path / top).mkdir(exist_ok=True)
        values = np.random.RandomState(number).randint(0, 4, (9, 11)).astype(np.uint8)
        Image.fromarray(values).save(tmp_path / top / f"img_{name}.png")
    (tmp_path / "val.txt").write_text("1\n2\n3\n")
    params = {"root": str(tmp_path), "split": "val"}
    return check_data._split("here", "val", ThreeTopsLayer, params)


def examined(split, jobs=2):
    check_data.open_splits([split])
    check_data.check_lists([split])
    check_data.check_files([split], jobs)
    check_data.check_found([split])
    return [(name, os.path.basename(os.path.dirname(file)), text)
            for _, name, file, text in check_data.problems([split])]  # fmt: skip


def test_a_layer_with_other_tops_is_checked_in_all_of_them(three, tmp_path):
    assert examined(three) == []
    missing(tmp_path / "color/img_2.png")
    missing(tmp_path / "label/img_2.png")
    truncated(tmp_path / "depth/img_2.png")
    small = np.zeros((9, 10), np.uint8)
    Image.fromarray(small).save(tmp_path / "label/img_3.png")
    Image.fromarray(small + 4).save(tmp_path / "color/img_3.png")
    three.rows.clear()
    rows = examined(three)
    assert [row[:2] for row in rows] == [
        ("2", "color"), ("2", "label"), ("2", "depth"), ("3", "color"), ("3", "label"),
    ]  # fmt: skip
    assert rows[0][2].startswith("no such color") and rows[1][2] == "no such file"
    Image.fromarray(np.full((9, 11), 4, np.uint8)).save(tmp_path / "label/img_3.png")
    three.rows.clear()
    assert "label 4 at row 0" in examined(three)[-1][2]


def test_pictures_of_the_same_bytes_are_found_in_the_first_picture_top(three, tmp_path):
    shutil.copy(tmp_path / "color/img_1.png", tmp_path / "color/img_2.png")
    assert examined(three) == []
    shutil.copy(tmp_path / "depth/img_1.png", tmp_path / "depth/img_2.png")
    ((name, top, text),) = examined(three)
    assert (name, top) == ("2", "depth") and text.startswith("same content as val 1: ")


@pytest.mark.slow
def test_a_file_that_kills_its_reader_is_a_row_and_the_rest_is_checked(three, tmp_path):
    (tmp_path / "val.txt").write_text("1\nkiller\n2\n3\n")
    truncated(tmp_path / "depth/img_3.png")
    rows = examined(three)
    assert [row[0] for row in rows] == ["killer", "3"]
    assert "was killed" in rows[0][2]
    assert three.found["2"].whole


@pytest.mark.parametrize(
    "error, text", [(MemoryError(), "out of memory"), (KeyError("x"), "KeyError: 'x'")]
)
def test_whatever_reading_raises_is_a_problem_of_that_file(three, error, text):
    def read(paths):
        raise error

    source = three.layer.open_source(three.params)._replace(read=read)
    found = data_walk.examine(three.layer, three.params, source, "1")
    assert [row[1] for row in found.problems] == [text]
    assert not found.whole


SLOW = """
import os, time
from voc_layers import VOCSegDataLayer

class SlowLayer(VOCSegDataLayer):
    @classmethod
    def open_source(cls, params):
        source = super().open_source(params)
        def read(paths):
            if paths["data"].endswith("b3.jpg"):
                with open(os.path.join(params["voc_dir"], "reading"), "w") as file:
                    file.write(str(os.getpid()))
                time.sleep(1.5)
            return source.read(paths)
        return source._replace(read=read)
"""


@pytest.fixture
def running(data, tmp_path, root):
    """check_data.py as a process of its own, one of whose workers is at work: (process, the
    worker's id); the data set has one bad label."""
    (tmp_path / "slow_layers.py").write_text(SLOW)
    voc = {"voc_dir": str(data), "mean": (1.0, 2.0, 3.0), "classes": 4}
    val = net(tmp_path / "val.prototxt", "val", "slow_layers", "SlowLayer", **voc)
    out_of_range(data / LABELS / "b1.png")
    process = subprocess.Popen(
        [sys.executable, str(root / "tools/check_data.py"), "--net", val, "--jobs", "1"],
        env=environment(root, tmp_path),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    note = data / "reading"
    wait_until(lambda: (note.exists() and note.read_text()) or process.poll() is not None)
    time.sleep(0.2)  # for the results before it to arrive
    yield process, int(note.read_text())
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.mark.slow
def test_ctrl_c_shows_what_was_found_so_far_and_exits_130(running):
    process, _ = running
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "label 77" in out and "Traceback" not in err
    assert "warning: stopped after 2 of 3 images" in err and err.endswith("interrupted\n")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_workers_end_when_the_main_process_is_killed(running):
    process, worker = running
    process.terminate()
    if not gone(worker):
        os.kill(worker, signal.SIGKILL)
        pytest.fail("the worker is still there")


@pytest.mark.slow
def test_the_script_exits_1_for_a_problem(data, tmp_path, root):
    missing(data / LABELS / "a4.png")
    call = [sys.executable, str(root / "tools/check_data.py"), "--own"]
    call += [str(write_toml(tmp_path / "x.toml", data)), "--jobs", "1"]
    done = subprocess.run(call, capture_output=True, text=True, env=environment(root))
    assert done.returncode == 1 and "a4.png  no such label" in done.stdout
    assert "checking 8/8 images" in done.stderr
