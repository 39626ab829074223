"""A training's report: what the page says, of which runs, and when there is little to say."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser

import pytest

from tests.helpers.data_sets import VAL
from tests.helpers.report_runs import HOSTILE, lay_out, rename_image
from tools import report, score
from tools.common import cli
from tools.common.score_tables import percent


@pytest.fixture
def trained(data, tmp_path):
    """A run's folder."""
    return lay_out(tmp_path / "runs" / "one", data)


def run(*argv):
    with pytest.raises(SystemExit) as caught:
        cli.run(report.main, ["--cpu", *map(str, argv)])
    return caught.value.code


def score_py(folder, out, *more):
    """Score the run's snapshot as score.py does, into the JSON `out`."""
    net, weights = (str(folder / name) for name in ("val.prototxt", "train_iter_20.caffemodel"))
    score.main(["--net", net, "--weights", weights, "--cpu", "--json", str(out), *more])


def page(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


class Parsed(HTMLParser):
    """elements: (tag, attributes) of each start; text: of each section by its id."""

    def __init__(self, content):
        super().__init__()
        self.elements, self.text, self._section = [], {}, ""
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "section":
            self._section = dict(attrs)["id"]

    def handle_data(self, data):
        self.text[self._section] = self.text.get(self._section, "") + data + " "

    def of(self, tag, **wanted):
        names = {key.rstrip("_").replace("_", "-"): value for key, value in wanted.items()}
        return [
            own
            for element, own in self.elements
            if element == tag and all(own.get(key) == value for key, value in names.items())
        ]


def test_the_scores_are_those_of_score_py(trained, tmp_path, capsys):
    assert run(trained) == 0
    score_py(trained, tmp_path / "s.json")
    scores = json.loads((tmp_path / "s.json").read_text())
    found = Parsed(page(trained))
    for key in ("pixel_accuracy", "mean_accuracy", "mean_iu", "fw_iu"):
        assert f" {100 * scores[key]:.2f} " in found.text["scores"]
    for one in scores["classes"]:
        for key in ("iu", "accuracy", "precision", "dice"):
            assert f" {percent(one[key], 1)} " in found.text["classes"]
    for i, row in enumerate(scores["hist"]):
        for j, count in enumerate(row):
            cells = found.of("button", class_="opener", data_pair=f"{i} {j}")
            assert bool(cells) == bool(count)
            for cell in cells:
                assert re.search(rf": {count} pixels?$", cell["aria-label"].replace("\xa0", " "))


def test_all_that_is_shown_is_in_the_file_itself(trained):
    assert run(trained) == 0
    found = Parsed(page(trained))
    for name, attributes in found.elements:
        for key in ("src", "href", "action", "poster", "srcset"):
            value = attributes.get(key, "#")
            assert value.startswith(("#", "data:image/")), (name, value)
    text = re.sub(r"data:image/[^\"]*", "", page(trained))
    assert (
        "@import" not in text
        and "url(" not in text
        and "http" not in text.replace("http-equiv", "")
    )


def test_each_shown_image_has_photograph_truth_prediction_and_confidence_once(trained):
    assert run(trained) == 0
    found = Parsed(page(trained))
    for view in ("photograph", "truth", "prediction", "confidence"):
        alts = [one["alt"] for one in found.of("img", data_view=view)]
        assert sorted(alts) == [f"{view} of {name}" for name in VAL]


def test_a_cell_names_pictures_of_the_page_that_have_its_pixels(trained):
    assert run(trained, "--images", "1") == 0
    found = Parsed(page(trained))
    ids = {one["id"] for one in found.of("figure", class_="image")}
    opened = 0
    for one in found.of("button", class_="opener"):
        counts = [part.split(":") for part in one["data-pictures"].split()]
        assert all(f"image-{place}" in ids and int(count) > 0 for place, count in counts)
        assert [int(c) for _, c in counts] == sorted((int(c) for _, c in counts), reverse=True)
        opened += bool(counts)
    assert opened


@pytest.mark.parametrize("shrink", [1, 3])
def test_the_pictures_behind_a_cell_have_its_pixels_between_them(data, tmp_path, shrink):
    folder = lay_out(tmp_path / "run", data, shrink=shrink)
    assert run(folder) == 0  # it shows all images
    for one in Parsed(page(folder)).of("button", class_="opener"):
        told = int(re.search(r": (\d+) pixels?$", one["aria-label"]).group(1))
        assert told == sum(int(part.split(":")[1]) for part in one["data-pictures"].split())


def test_curves_settings_and_the_receipt_are_told(trained):
    assert run(trained) == 0
    text = Parsed(page(trained)).text
    assert "mean IU, percent" in text["curves"] and "learning rate" in text["curves"]
    assert "momentum" in text["settings"] and "fcn8s-atonce-vgg16" in text["settings"]
    assert "<i>fast</i>" in text["receipt"] and "abababababab" in text["receipt"]


def test_runs_beside_each_other_show_what_differs_and_each_net_beside_the_truth(
    trained, data, tmp_path
):
    other = lay_out(tmp_path / "runs" / "two", data, turned=True)
    assert run(trained, "--against", other, "--images", "1") == 0
    found = Parsed(page(trained))
    differing = found.text["settings"].split("In force")[0]
    assert "base_lr" in differing and "momentum" not in differing
    rows = found.of("figure", class_="row")
    assert rows and len(found.of("img", data_view="two")) == len(rows)
    assert len(found.of("div", data_copy="truth")) == len(rows)
    assert "IU of two" in found.text["classes"] and "difference" in found.text["classes"]


@pytest.mark.parametrize(
    "name, words",
    [
        ("metrics.jsonl", "no curves"),
        ("receipt.json", "no receipt.json"),
        ("solver_in_force.prototxt", "no settings"),
        ("task.toml", "mean IU"),
        ("train_iter_20.caffemodel", "no snapshot"),
        ("val.prototxt", "no val.prototxt"),
    ],
)
def test_what_is_missing_is_left_out_and_said(trained, name, words, capsys):
    (trained / name).unlink()
    assert run(trained) == 0, capsys.readouterr().err
    assert words in Parsed(page(trained)).text[""]


@pytest.mark.parametrize(
    "content",
    [
        '{"parts": [{"from": 0}], "data": []}',
        '{"parts": [{"from": 0, "start": 3, "files": [], "data": 9}], "data": [1]}',
        "{",
        "[]",
    ],
)
def test_a_receipt_of_another_form_does_no_harm(trained, content):
    (trained / "receipt.json").write_text(content)
    assert run(trained, "--images", "0") == 0


def test_names_of_classes_and_images_make_no_markup(data, tmp_path):
    name = "b<script>x&'\"<"
    rename_image(data, VAL[0], name)
    folder = lay_out(tmp_path / "a<b>&'\"", data, classes=HOSTILE)
    assert run(folder, "--against", lay_out(tmp_path / "two", data, classes=HOSTILE)) == 0
    found = Parsed(page(folder))
    assert len(found.of("script")) == 1 and found.of("img", src="x") == []
    assert not any(key.startswith("on") for _, attributes in found.elements for key in attributes)
    assert {one["alt"] for one in found.of("img", data_view="truth")} >= {f"truth of {name}"}
    assert HOSTILE[0] in html.unescape(page(folder)) and "\u202e" not in page(folder)


def test_scores_may_come_from_a_json_of_score_py(trained, tmp_path, capsys):
    score_py(trained, tmp_path / "s.json", "--per-image", str(tmp_path / "i.csv"))
    assert run(trained) == 0
    whole = Parsed(page(trained))
    capsys.readouterr()
    assert run(trained, "--scores", tmp_path / "s.json") == 0
    assert "scoring one" not in capsys.readouterr().err
    again = Parsed(page(trained))
    assert again.text["classes"] == whole.text["classes"]
    assert again.text["images"] == whole.text["images"]
    assert "s.json" in again.text["scores"]
    found = json.loads((tmp_path / "s.json").read_text())
    (tmp_path / "s.json").write_text(json.dumps({**found, "images": ["b1"]}))
    assert run(trained, "--scores", tmp_path / "s.json") == 2
    assert "other images" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change, words",
    [
        ({"weights": "other.caffemodel"}, "has no scores of train_iter_20.caffemodel"),
        ({"hist": [[1]]}, "'hist'"),
        ({"per_image": [{"id": "b1"}]}, "'per_image'"),
        ({"per_image": [3]}, "'per_image'"),
    ],
)
def test_a_json_that_does_not_fit_is_refused(trained, tmp_path, capsys, change, words):
    score_py(trained, tmp_path / "s.json")
    found = json.loads((tmp_path / "s.json").read_text())
    (tmp_path / "s.json").write_text(json.dumps({**found, **change}))
    capsys.readouterr()
    assert run(trained, "--scores", tmp_path / "s.json") == 2
    assert words in capsys.readouterr().err


def test_somebody_elses_page_is_kept(trained, capsys):
    (trained / "report.html").write_text("<!DOCTYPE html>\nmine\n")
    assert run(trained) == 2
    assert "report.html" in capsys.readouterr().err
    assert "mine" in page(trained)


def test_a_report_is_replaced_by_a_newer_one(trained):
    assert run(trained, "--images", "0") == 0
    first = page(trained)
    assert run(trained) == 0
    assert len(page(trained)) > len(first)


def test_wrong_calls_are_one_line(trained, data, tmp_path, capsys):
    other = lay_out(tmp_path / "x", data, classes=["a", "b", "c", "d"])
    for argv, words in (
        ([trained, "--images", "-1"], "--images"),
        ([trained, "--against", trained], "given twice"),
        ([tmp_path / "absent"], "is not a folder"),
        ([trained, "--against", other], "other classes"),
    ):
        assert run(*argv) == 2
        err = capsys.readouterr().err.strip().splitlines()
        assert words in err[-1] and "Traceback" not in "".join(err)
