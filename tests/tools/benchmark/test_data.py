"""The photographs that the bench scores."""

from __future__ import annotations

from tools.benchmark import (
    data as bench_data,
)


def test_the_first_photographs_of_a_data_set_are_taken(data, tmp_path):
    params, count = bench_data.score_source(str(tmp_path), str(data), 2)
    assert count == 2 and params["voc_dir"] == str(data)
    assert (tmp_path / "bench.txt").read_text() == "b1\nb2\n"
