"""score.py and infer.py in several processes: the images are split, the results are the same."""

from __future__ import annotations

import json

import pytest

import caffe
from tests.helpers import many, tiny_run

pytestmark = pytest.mark.slow
SCORE = str(tiny_run.ROOT / "tools/score.py")
INFER = str(tiny_run.ROOT / "tools/infer.py")
DEPLOY = (
    'layer { name: "data" type: "Input" top: "data" '
    "input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n"
) + tiny_run.NET[: tiny_run.NET.index('layer { name: "loss"')]


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    tiny_run.lay_out(folder)
    (folder / "deploy.prototxt").write_text(DEPLOY)
    caffe.set_mode_cpu()
    caffe.set_random_seed(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("a", "b"):
            caffe.Net("train.prototxt", caffe.TEST).save(f"{name}.caffemodel")
    return folder


def run(folder, count, script, *args):
    """What rank 0 says on stdout, after all have ended well and the others have said nothing."""
    ends = many.run_group(folder, count, script, *args, "--cpu")
    assert [code for code, _, _ in ends] == [0] * count, ends
    assert all((out, err) == ([], []) for _, out, err in ends[1:]), ends
    return ends[0][1]


def pictures(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.png"))}


@pytest.mark.parametrize("counts, weights", [
    ((1, 2, 3), ["a.caffemodel"]), ((1, 4), ["a.caffemodel", "b.caffemodel"]),
])  # fmt: skip
def test_any_number_of_processes_scores_alike_to_the_last_digit(
    laid_out, tmp_path, counts, weights
):
    found = []
    for count in counts:
        place = tmp_path / str(count)
        words = ["--net", "val.prototxt", "--weights", *weights]
        out = run(laid_out, count, SCORE, *words, "--json", f"{place}.json", "--save-dir", place)
        found.append((out, json.loads((tmp_path / f"{count}.json").read_text()), pictures(place)))
        assert len(found[0][2]) == 3 * len(weights)
    for other in found[1:]:
        assert other == found[0]


def test_any_number_of_processes_segments_alike(laid_out, tmp_path):
    found = []
    for count in (1, 3):
        place = tmp_path / str(count)
        words = ["--net", "deploy.prototxt", "--weights", "a.caffemodel", "--overlay"]
        out = run(laid_out, count, INFER, *words, "voc/JPEGImages", "--out", place)
        lines = [line.replace(str(place), "OUT") for line in out]
        found.append((lines, pictures(place)))
    assert len(found[0][0]) == 6 and len(found[0][1]) == 13
    assert found[1] == found[0]


@pytest.mark.long
def test_an_image_that_a_rank_cannot_read_is_counted_by_the_first(laid_out, tmp_path):
    (laid_out / "voc/JPEGImages/p9.jpg").write_bytes(b"\xff\xd8broken")
    try:
        ends = many.run_group(
            laid_out, 2, INFER, "--net", "deploy.prototxt", "--weights", "a.caffemodel",
            "voc/JPEGImages", "--out", tmp_path / "masks", "--cpu",
        )  # fmt: skip
    finally:
        (laid_out / "voc/JPEGImages/p9.jpg").unlink()
    assert [code for code, _, _ in ends] == [1, 1]
    assert ends[0][1][-1] == "1 of 7 images could not be segmented"
    assert sum("skipped" in line for line in ends[0][2]) == 1 and ends[1][1:] == ([], [])


@pytest.mark.long
def test_a_rank_that_fails_ends_the_scoring(laid_out):
    patched = laid_out / "patched.py"
    patched.write_text(
        "import os\nfrom tools import score\nfrom tools.common.cli import run\n"
        "if os.environ['RANK'] == '1':\n"
        "    def fail(*args): raise OSError(5, 'cannot be read', 'p1.jpg')\n"
        "    score.count_pixels = fail\n"
        "run(score.main)\n"
    )
    ends = many.run_group(
        laid_out, 2, patched, "--net", "val.prototxt", "--weights", "a.caffemodel", "--cpu"
    )
    assert [code for code, _, _ in ends] == [1, 1]
    assert [many.errors(err) for _, _, err in ends] == [
        ["error: rank 1: p1.jpg: cannot be read"],
        [],
    ]
