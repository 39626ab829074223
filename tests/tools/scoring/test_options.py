"""What score.py and compare.py say and write of the scores beyond the four."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

import caffe
from tests.helpers import many, tiny_run
from tools import compare, score
from tools.common import cli
from tools.common.nets import keep
from tools.scoring import images
from tools.scoring.boundaries import Boundaries

SCORE = str(tiny_run.ROOT / "tools/score.py")
NET = ["--net", "val.prototxt", "--weights"]
ALL = ["--more", "--boundary", "--widths", "1,3", "--calibration", "--per-image", "--flips"]


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    tiny_run.lay_out(folder)
    caffe.set_mode_cpu()
    rng = np.random.RandomState(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("a", "b"):
            net = caffe.Net("train.prototxt", caffe.TEST)
            for blobs in net.params.values():
                blobs[0].data[...] = 0.03 * rng.randn(*blobs[0].data.shape)
            net.save(f"{name}.caffemodel")
    return folder


@pytest.fixture
def run(laid_out, monkeypatch, capsys):
    """run(main, *words): (exit code, stdout, stderr) in the folder of the run."""
    monkeypatch.chdir(laid_out)

    def call(main, *words):
        with pytest.raises(SystemExit) as caught:
            cli.run(main, [*map(str, words)])
        return (caught.value.code, *capsys.readouterr())

    return call


def scored(run, path, *more, weights=("a.caffemodel",)):
    code, out, err = run(score.main, *NET, *weights, "--cpu", "--json", path, *more)
    assert code == 0, err
    return out, json.loads(path.read_text())


def predictions():
    """(label, prediction, loss) of the images by the net of a.caffemodel."""
    net = caffe.Net("val.prototxt", caffe.TEST, weights="a.caffemodel")
    keep(net, "label", "score")
    for _ in range(3):
        net.forward()
        label = net.blobs["label"].data[0, 0].astype(int)
        yield label, net.blobs["score"].data[0].argmax(0), float(net.blobs["loss"].data)


def test_without_options_nothing_else_is_printed_and_the_four_scores_stay(run, tmp_path):
    plain, report = scored(run, tmp_path / "s.json")
    full, whole = scored(run, tmp_path / "t.json", *ALL)
    assert full.startswith(plain)
    added = {"boundary", "calibration", "averaged", "per_image"}
    assert set(whole) - set(report) == added
    for key in set(report) - {"classes"}:
        assert report[key] == whole[key]
    for one, other in zip(report["classes"], whole["classes"]):
        assert set(other) - set(one) == {"boundary_f", "boundary_iou"}
        assert {"name", "iu", "accuracy", "dice", "precision", "recall"} == set(one)
        assert all(other[key] == one[key] for key in one)


def test_every_part_is_that_of_the_predictions(run, tmp_path):
    out, report = scored(run, tmp_path / "s.json", *ALL)
    found, rows = Boundaries(3, [1, 3]), []
    for number, (label, prediction, loss) in enumerate(predictions()):
        found.add(label, prediction)
        hist = score.fast_hist(label.ravel(), prediction.ravel(), 3)
        rows.append(images.row(f"p{number}", hist, loss))
    scores = found.scores()
    assert report["boundary"]["trimap_mean_iu"] == scores["trimap_mean_iu"]
    assert report["boundary"]["boundary_f"] == scores["boundary_f"]
    assert report["per_image"] == sorted(rows, key=lambda one: one["mean_iu"])
    for one in rows:
        present = [iu for iu in one["iu"] if iu is not None]
        assert one["mean_iu"] == pytest.approx(np.mean(present))
    for heading in ("Dice", "boundary IoU", "3 px", "expected calibration error", "worst first"):
        assert heading in out


@pytest.mark.slow
def test_several_snapshots_have_each_their_tables_and_lines(run, tmp_path):
    both = ("a.caffemodel", "b.caffemodel")
    plot, table = tmp_path / "p.png", tmp_path / "t.csv"
    more = ["--plot", plot, "--calibration", tmp_path / "c.png", "--per-image", table]
    out, reports = scored(run, tmp_path / "s.json", *more, weights=both)
    for name, one in zip(both, reports):
        _, alone = scored(run, tmp_path / "one.json", "--boundary", weights=(name,))
        assert f"\n{name}:\n" in out
        assert one["boundary"] == alone["boundary"]
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["snapshot"] for row in rows] == [name for name in both for _ in range(3)]
    assert float(rows[0]["mean_iu"]) == reports[0]["per_image"][0]["mean_iu"]
    for path in (plot, tmp_path / "c.png"):
        with Image.open(path) as picture:
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 9


def test_images_are_written_as_csv_or_json_and_again(run, tmp_path):
    for path in (tmp_path / "t.csv", tmp_path / "t.json"):
        for _ in range(2):  # its own file is replaced
            _, report = scored(run, tmp_path / "s.json", "--per-image", path)
    rows = json.loads((tmp_path / "t.json").read_text())
    assert [one["id"] for one in rows] == [one["id"] for one in report["per_image"]]
    assert set(rows[0]["iu"]) == {one["name"] for one in report["classes"]}
    with (tmp_path / "t.csv").open(newline="") as file:
        (header, *lines) = csv.reader(file)
    assert header[:4] == ["id", "pixel_accuracy", "mean_iu", "loss"] and len(lines) == 3
    assert len(header) == 4 + 3 and header[4].startswith("IU of ")


def test_of_many_images_the_worst_and_best_ten_are_printed():
    rows = [
        {"id": f"i{n}", "mean_iu": n / 30, "pixel_accuracy": 0.5, "loss": None, "iu": []}
        for n in range(30)
    ]
    rows.append({"id": "void", "mean_iu": None, "pixel_accuracy": None, "loss": None, "iu": []})
    lines = images.lines(rows[::-1])
    assert len(lines) == 22 and lines[1].split()[0] == "i0" and "(11 more)" in lines[11]
    assert lines[-1].split() == ["void", "-", "-"] and "loss" not in lines[0]


@pytest.mark.parametrize(
    "words, said",
    [
        (["--widths", "3,1"], "--widths: expected rising whole numbers"),
        (["--widths", "0,1"], "expected rising"),
        (["--scales", "1,1"], "--scales: expected different factors"),
        (["--plot", "val.prototxt"], "val.prototxt: the file that is there is not a picture"),
        (["--per-image", "val.prototxt"], "val.prototxt: the file that is there is not scores"),
        (["--plot", "x.png", "--calibration", "x.png"], "x.png: is the file of --plot too"),
    ],
)
def test_wrong_options_are_one_line_and_exit_2(run, words, said):
    code, out, err = run(score.main, *NET, "a.caffemodel", "--cpu", *words)
    assert (code, out) == (2, "") and said in err and len(err.splitlines()) == 1


@pytest.mark.slow
def test_any_number_of_processes_has_the_same_further_scores(run, laid_out, tmp_path):
    _, alone = scored(run, tmp_path / "1.json", *ALL)
    words = [*NET, "a.caffemodel", "--json", tmp_path / "2.json", *ALL, "--cpu"]
    ends = many.run_group(laid_out, 2, SCORE, *words)
    assert [code for code, _, _ in ends] == [0, 0], ends
    shared = json.loads((tmp_path / "2.json").read_text())
    for one in (*alone["averaged"], *shared["averaged"]):
        del one["cost"]  # is time
    assert shared == alone


def test_compare_shows_and_draws_what_there_is(run, tmp_path):
    scored(run, tmp_path / "a.json", "--boundary", "--calibration")
    scored(run, tmp_path / "b.json", "--widths", "1,5", weights=("b.caffemodel",))
    files = (tmp_path / "a.json", tmp_path / "b.json")
    code, out, _ = run(compare.main, *files, "--plot", tmp_path / "p.png")
    assert code == 0
    parts = [part.splitlines() for part in out.strip().split("\n\n")]
    heads = [part[0].split("  ") for part in parts]
    further = next(part for part, head in zip(parts, heads) if "Dice" in " ".join(head))
    assert "calibration error" in further[0] and "boundary F" in further[0]
    assert "trimap" not in further[0]  # their widths differ
    assert further[2].rstrip().endswith("-")  # not asked for
    trimap = next(part for part in parts if part[0].startswith("trimap mean IU"))
    assert trimap[0].split()[3:] == ["1", "px", "5", "px"] and len(trimap) == 3
    assert Image.open(tmp_path / "p.png").format == "PNG"


def test_compare_refuses_a_plot_of_nothing_and_damaged_scores(run, tmp_path):
    _, report = scored(run, tmp_path / "a.json")
    code, out, err = run(compare.main, tmp_path / "a.json", "--plot", tmp_path / "p.png")
    assert code == 2 and "score.py --boundary makes them" in err
    _, report = scored(run, tmp_path / "a.json", "--boundary", "--calibration")
    good = report["boundary"]
    for spoilt in (
        {"boundary": 3},
        {"boundary": {**good, "widths": [1]}},
        {"boundary": {**good, "widths": ["a"] * len(good["widths"])}},
        {"boundary": {**good, "boundary_f": "x"}},
        {"boundary": {}},
        {"calibration": []},
        {"calibration": {"ece": "x"}},
        {"mean_dice": []},
    ):
        (tmp_path / "bad.json").write_text(json.dumps({**report, **spoilt}))
        code, _, err = run(compare.main, tmp_path / "bad.json")
        assert code == 2 and len(err.splitlines()) == 1 and "bad.json" in err, spoilt
