"""How the training is shown: tables of any part of its results, pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.helpers.training_job import NET, RESULTS
from tools.common.pictures import save_indexed
from tools.gpu import training_data
from tools.gpu.training import main_figure, markdown
from tools.gpu.training_text import curve, masks


@pytest.mark.parametrize("count", range(len(RESULTS) + 1))
def test_every_first_part_of_the_results_can_be_shown(count):
    text = markdown(RESULTS[:count])
    assert text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")
    main_figure(RESULTS[:count])


def test_the_report_has_scores_by_iteration_and_class():
    text = markdown(RESULTS)
    assert "CamVid: 367 frames to train on, 101 scored, at 480×360." in text
    assert f"| {NET} | 1,000 | 90.00 | 60.00 | 41.00 | 80.00 |" in text
    assert f"| {NET} | 4,000, at the end | 90.00 | 60.00 | 52.30 | 80.00 |" in text
    assert f"| {NET} | 90.00 | — |" in text
    assert "too little" in text
    assert main_figure(RESULTS) == f"{NET}: mean IU 52.30 % after 4,000 iterations"


def test_made_up_pictures_and_narrow_nets_are_named_so():
    results = [{**RESULTS[0], "real": False, "shrink": 8}, *RESULTS[1:]]
    text = markdown(results)
    assert "**Synthetic pictures** (no pack was given), not CamVid" in text
    assert "channels are divided by 8" in text
    assert main_figure(results).endswith("(synthetic pictures)")


@pytest.mark.slow
def test_the_curve_is_a_picture_of_any_part_that_has_a_loss():
    for count in (3, len(RESULTS)):
        image = Image.open(io.BytesIO(curve(RESULTS[:count])))
        assert image.size == (880, 495)
        assert len(np.unique(np.array(image.convert("L")))) > 20


def test_masks_show_photograph_truth_and_prediction_in_a_row(tmp_path):
    training_data.make_up(tmp_path / "data", train=1, val=2, size=(36, 48))
    val = ["val00", "val01"]
    data = training_data.DataSet(tmp_path / "data", False, ["train00"], val, (36, 48), True)
    (tmp_path / "out").mkdir()
    for name in val:
        save_indexed(tmp_path / "out" / f"{name}.png", np.full((36, 48), 8, np.uint8))
    names = [f"class {i}" for i in range(11)]
    sheet = np.array(Image.open(io.BytesIO(masks(data, {NET: tmp_path / "out"}, names))))
    assert sheet.shape[0] >= 2 * (36 + 16) and sheet.shape[1] >= 3 * 48
    car = (sheet == (64, 0, 0)).all(axis=-1)  # class 8 in VOC's colours
    assert car.sum() >= 2 * 36 * 48
