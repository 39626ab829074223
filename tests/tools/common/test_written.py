"""By what a file is known as one that the toolkit has written."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.proto import caffe_pb2
from tools.common import files, pictures, written
from tools.common.cli import UserError

ROOT = Path(__file__).parents[3]
LABELS = np.arange(12).reshape(3, 4)
RGB = np.zeros((3, 4, 3), np.uint8)


def png(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def ours(kind, content):
    return kind.ours(io.BytesIO(content))


def test_a_mask_is_known_and_a_truth_in_the_same_colours_is_not():
    assert ours(written.MASK, pictures.png(pictures.indexed(LABELS)))
    assert not ours(written.MASK, png(pictures.indexed(LABELS)))


def test_masks_and_pictures_are_told_apart():
    assert ours(written.PICTURE, pictures.png(RGB))
    assert not ours(written.MASK, pictures.png(RGB))
    assert not ours(written.PICTURE, pictures.png(pictures.indexed(LABELS)))
    assert not ours(written.PICTURE, png(Image.fromarray(RGB)))


def test_a_plot_carries_the_mark(tmp_path):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure = pyplot.figure()
    figure.savefig(tmp_path / "a.png", metadata=written.PLOT_MARK)
    pyplot.close(figure)
    assert ours(written.PICTURE, (tmp_path / "a.png").read_bytes())


def test_a_marked_picture_has_the_same_pixels():
    with Image.open(io.BytesIO(pictures.png(pictures.indexed(LABELS)))) as image:
        assert image.mode == "P" and np.array_equal(np.asarray(image), LABELS)


def test_marked_weights_are_read_as_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(
        'layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 3 } } }'
    )
    net = caffe.Net("net.prototxt", caffe.TEST)
    net.params["p"][0].data[...] = [1, 2, 3]
    net.save("a.caffemodel")
    before = Path("a.caffemodel").read_bytes()
    assert not ours(written.WEIGHTS, before)
    written.sign_weights("a.caffemodel")
    assert ours(written.WEIGHTS, Path("a.caffemodel").read_bytes())
    read = caffe.Net("net.prototxt", caffe.TEST, weights="a.caffemodel")
    assert read.params["p"][0].data.tolist() == [1, 2, 3]
    parsed = caffe_pb2.NetParameter.FromString(Path("a.caffemodel").read_bytes())
    parsed.ClearField("state")
    assert parsed == caffe_pb2.NetParameter.FromString(before)


@pytest.mark.parametrize(
    "content, known",
    [
        ("I0102 03:04:05.678901  7 solver.cpp:1] Iteration 0, loss = 1\n", True),
        ("warning: none\n\nerror: x\n", True),
        ("warning: none\nmy notes\n", False),
        ("a diary\n", False),
    ],
)
def test_a_log_is_told_by_its_lines(content, known):
    assert ours(written.LOG, content.encode()) == known


@pytest.mark.parametrize(
    "content, known",
    [
        ({"a": 1, "b": 2, "c": 3}, True),
        ([{"a": 1, "b": 2}] * 2, True),
        ({"a": 1}, False),
        ([{"a": 1, "b": 2}, {"a": 1}], False),
        ([], False),
        ([1], False),
        (3, False),
    ],
)
def test_json_is_told_by_its_keys(content, known):
    assert ours(written.json_of("x", "a", "b"), json.dumps(content).encode()) == known


@pytest.mark.parametrize("content", [b"{", b"\xff\0", b"[" * 100000, b'{"a": 1, "b": 2} more'])
def test_what_is_no_json_is_not_ours(content):
    assert not ours(written.json_of("x", "a", "b"), content)


def test_a_file_of_somebody_elses_is_neither_written_over_nor_touched(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("the only copy")
    kind = written.begins("a report", "# Report\n")
    for act in (files.check_target, files.check_ours, lambda p, k: files.write(p, "x", k)):
        with pytest.raises(UserError, match="a.txt: the file that is there is not a report, and"):
            act(path, kind)
    with pytest.raises(UserError), files.replacing(path, kind):
        raise AssertionError("not reached")
    assert path.read_text() == "the only copy"


@pytest.mark.parametrize("before", [None, "", "# Report\nold\n"])
def test_nothing_an_empty_file_and_our_own_are_written_over(tmp_path, before):
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before)
    files.write(path, "# Report\nnew\n", written.begins("a report", "# Report\n"))
    assert path.read_text() == "# Report\nnew\n"


WRITES = re.compile(
    r"write_atomic\(|open\([^)\n]*, ?[\"'][wax]b?[\"']|\.write_(text|bytes)\("
    r"|os\.(replace|rename)\(|shutil\.(copy|move)|\.save\(|\.savefig\(|savemat\("
)
ALLOWED = {
    "prototxt/files.py": "the writer itself",
    "prototxt/generate.py": "checks by itself",
    "prototxt/skeleton.py": "a temporary file",
    "solvers/ranks.py": "into a temporary folder",
    "surgery/make_init.py": "through files.replacing",
    "tools/common/files.py": "the writer itself",
    "tools/common/ranks.py": "the null device",
    "tools/common/pictures.py": "checks by itself, unless --overwrite is given",
    "tools/common/written.py": "marks a new file",
    "tools/datasets/demo_data.py": "into a folder that demo.py has looked at",
    "tools/nyud.py": "writes what is missing, or --overwrite is given",
    "tools/plot_log.py": "into memory",
    "tools/reporting/thumbnails.py": "into memory",
    "tools/scoring/charts.py": "into memory",
    "tools/seg12val.py": "compares the ids, or --force is given",
    "tools/voc_submission.py": "through files.replacing",
}
TEMPORARY = ("tools/benchmark/", "tools/gpu/")


def test_whatever_writes_a_file_asks_first_whose_it_is():
    """A writer that is not known here goes through `files.write`, or says why it need not."""
    found = set()
    for room in ("prototxt", "surgery", "tools", "solvers", "data_layers"):
        for path in (ROOT / room).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if WRITES.search(path.read_text()) and not name.startswith(TEMPORARY):
                found.add(name)
    assert found == set(ALLOWED)
