"""Scores of several runs beside each other, out of the files that score.py writes."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tools import compare, score
from tools.common import cli, score_tables, tables

NAMES = ["background", "person|cat"]


def report(hist, weights="runs/a/train_iter_1000.caffemodel", loss=2.5, names=NAMES, **more):
    """What score.py writes for a confusion matrix."""
    more = {"net": "nets/voc/a/val.prototxt", "weights": weights, "images": ["x", "y"], **more}
    hist = np.array(hist)
    return score_tables.report(score.metrics(hist), hist, loss, names, **more)


GOOD = report([[90, 10], [10, 90]])
BAD = report([[60, 40], [30, 70]], "runs/a/train_iter_500.caffemodel", 9.0)


@pytest.fixture
def script(tmp_path, capsys):
    """script(contents, *options): (exit code, stdout, stderr) of compare.py on files of these."""

    def call(contents, *options):
        paths = []
        for number, content in enumerate(contents):
            paths.append(tmp_path / f"{number}.json")
            text = content if isinstance(content, str) else json.dumps(content)
            paths[-1].write_text(text)
        with pytest.raises(SystemExit) as caught:
            cli.run(compare.main, [*map(str, paths), *options])
        return (caught.value.code, *capsys.readouterr())

    return call


def parts(out):
    return [part.splitlines() for part in out.strip("\n").split("\n\n")]


def test_the_best_of_every_column_is_marked(script):
    code, out, _ = script([BAD, GOOD])
    summary, classes = parts(out)
    assert code == 0 and len(summary) == 3
    assert summary[1].split()[1:] == ["train_iter_500.caffemodel", "65.00", "65.00", "48.08",
                                      "48.08", "9"]  # fmt: skip
    assert summary[2].split()[1:] == ["train_iter_1000.caffemodel", "90.00*", "90.00*", "81.82*",
                                      "81.82*", "2.5*"]  # fmt: skip
    assert classes[1].split() == ["background", "46.15", "81.82"]


def test_columns_are_aligned(script):
    _, out, _ = script([BAD, GOOD])
    (header, one, two), _ = parts(out)
    for heading in ("pixel accuracy", "mean IU"):
        end = header.index(heading) + len(heading)
        assert two[end - 1] == "*" and one[end - 4 : end - 1].replace(".", "").isdigit()


def test_a_file_may_hold_a_list(script):
    assert script([[BAD, GOOD]])[1] == script([BAD, GOOD])[1]


def test_names_can_be_given_and_head_the_classes_columns(script):
    _, out, _ = script([BAD, GOOD], "--names", "early, late")
    summary, classes = parts(out)
    assert [line.split()[0] for line in summary] == ["snapshot", "early", "late"]
    assert classes[0].split() == ["IU", "of", "class", "early", "late"]


def test_markdown_has_as_many_cells_in_every_row(script):
    _, out, _ = script([BAD, GOOD], "--markdown")
    for part in parts(out):
        cells = [re.findall(r"(?<!\\)\|", line) for line in part]
        assert len({len(row) for row in cells}) == 1
        assert set(part[1]) <= set("|:- ")
    assert "| 90.00* |" in out and "person\\|cat" in out


def test_different_nets_are_named_and_their_losses_not_compared(script):
    other = dict(GOOD, net="nets/voc/b/val.prototxt", weights=BAD["weights"])
    _, out, _ = script([BAD, other])
    summary = parts(out)[0]
    assert summary[1].startswith("#1 a: train_iter_500.caffemodel ")
    assert summary[2].startswith("#2 b: train_iter_500.caffemodel ") and summary[2].endswith(" 2.5")


def test_the_same_file_twice_is_told_apart(script):
    _, out, _ = script([GOOD, GOOD])
    first, second = (re.split(" {2,}", line)[0] for line in parts(out)[0][1:])
    assert first[3:] != second[3:]


def test_different_classes_are_said_in_one_line(script):
    other = report([[90, 10], [10, 90]], names=["background", "dog"])
    code, out, _ = script([GOOD, other])
    assert code == 0 and parts(out)[1:] == [["note: the classes differ: no IU per class"]]
    (summary, classes, *_) = parts(script([GOOD, GOOD])[1])
    assert len(classes) == 3


def test_different_images_are_said_in_one_line(script):
    _, out, _ = script([GOOD, dict(GOOD, images=["x"])])
    (note,) = parts(out)[-1]
    assert re.fullmatch(r"note: scored on different images \(2, 1\).*", note)


def test_what_is_not_defined_is_a_dash(script):
    empty = report([[10, 0], [0, 0]], loss=float("nan"))
    _, out, _ = script([empty, GOOD])
    summary, classes = parts(out)
    assert summary[1].split()[-1] == "-" and summary[2].split()[-1] == "2.5*"
    assert classes[2].split()[-2:] == ["-", "81.82"]


def test_no_loss_at_all_has_no_column(script):
    assert "loss" not in script([dict(GOOD, loss=None), dict(BAD, loss=None)])[1]


def test_equal_scores_are_all_best(script):
    _, out, _ = script([GOOD, dict(GOOD, weights="b.caffemodel")])
    assert out.count("90.00*") == 4


def test_one_snapshot_alone_is_not_called_the_best(script):
    assert "*" not in script([GOOD])[1]


def without(key):
    return {k: v for k, v in GOOD.items() if k != key}


@pytest.mark.parametrize(
    "content, said",
    [
        ("", "the file is empty"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is an empty list"),
        ("7", "expected a dict"),
        ([GOOD, 7], "entry 2: expected a dict"),
        *((without(key), f"has no '{key}'") for key in ("net", "weights", "images", "mean_iu")),
        (without("classes"), "has no 'classes'"),
        ([GOOD, without("loss")], "entry 2: has no 'loss'"),
        (dict(GOOD, net=7), "'net': expected a text"),
        (dict(GOOD, fw_iu="high"), "'fw_iu': expected a number"),
        (dict(GOOD, fw_iu=True), "'fw_iu': expected a number"),
        (dict(GOOD, fw_iu=10**400), "'fw_iu': expected a number"),
        (dict(GOOD, fw_iu=float("nan")), "'fw_iu': expected a number"),
        (dict(GOOD, loss=float("inf")), "'loss': expected a number"),
        (dict(GOOD, images=5), "'images': expected a list"),
        (dict(GOOD, classes={}), "'classes': expected a list"),
        (dict(GOOD, classes=[1]), "'classes': expected a list of dicts"),
        (dict(GOOD, classes=[{"iu": 1}]), "has no 'name'"),
        (dict(GOOD, classes=[{"name": "a", "iu": "1"}]), "a class's 'iu': expected a number"),
    ],
)
def test_a_bad_file_is_one_line_and_exit_2(script, content, said):
    code, out, err = script([GOOD, content])
    assert code == 2 and out == "" and err.count("\n") == 1
    assert re.match(rf"error: \S+1.json: {said}", err), err


def test_a_missing_or_huge_file_is_one_line_and_exit_2(script, monkeypatch, tmp_path):
    assert script([], str(tmp_path / "no.json"))[::2] == (
        2,
        f"error: {tmp_path}/no.json: no such file\n",
    )
    monkeypatch.setattr(compare, "MAX_BYTES", 10)
    assert "bytes are more than 10" in script([GOOD])[2]


@pytest.mark.parametrize("names", ["a", "a,b,c", "a,"])
def test_as_many_names_as_snapshots_are_needed(script, names):
    code, _, err = script([GOOD, BAD], "--names", names)
    assert code == 2 and err.startswith(f"error: --names {names}: ")


def test_paths_get_as_many_folders_as_tell_them_apart():
    assert score_tables.distinct(["x/a.h5", "y/b.h5"]) == ["a.h5", "b.h5"]
    assert score_tables.distinct(["x/a.h5", "y/a.h5", "y/b.h5"]) == ["x/a.h5", "y/a.h5", "y/b.h5"]
    assert score_tables.distinct(["/a.h5", "/x/a.h5"]) == ["a.h5", "x/a.h5"]
    assert not any(name.startswith(("/", ".")) for name in score_tables.distinct(["../a", "a"]))


def test_a_table_puts_the_first_columns_left():
    lines = tables.table(["net", "kind", "n"], [["a", "bc", "10"], ["abcd", "b", "7"]], left=2)
    assert lines == ["net   kind   n", "a     bc    10", "abcd  b      7"]


def test_a_table_puts_any_columns_left_and_needs_no_header():
    rows = [["1", "a", "x"], ["10", "bcd", ""]]
    assert tables.table(None, rows, left=(1, 2)) == [" 1  a    x", "10  bcd"]
    assert tables.table(["n", "", ""], rows, True, left=(1, 2))[1] == "| --: | :-- | :-- |"
    assert tables.table(None, []) == []
