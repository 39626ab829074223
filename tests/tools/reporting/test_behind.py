"""Which images are shown."""

from __future__ import annotations

import numpy as np
import pytest

from tools.reporting.behind import TOP, Behind, chosen


def counted(*hists):
    """Behind of images 0, 1, …, their rows and the sum of their n x n confusion matrices."""
    behind = Behind()
    for number, hist in enumerate(hists):
        behind.add(str(number), None, None, None, np.array(hist), None)
    return behind, behind.rows, np.sum(hists, 0)


def test_the_images_behind_a_pair_are_those_with_most_pixels_of_it_the_first_of_equals():
    hists = [[[9, n], [0, 9]] for n in (3, 8, 0, 5, 8, 1)]
    behind, _, _ = counted(*hists)
    assert behind.of_pair(0, 1) == [("1", 8), ("4", 8), ("3", 5)]
    assert behind.of_pair(1, 0) == []


def test_memory_does_not_grow_with_the_images():
    rng = np.random.RandomState(0)
    behind, _, _ = counted(*rng.randint(0, 9, (200, 3, 3)))
    assert len(behind.pairs) == 9 and {len(heap) for heap in behind.pairs.values()} == {TOP}


def test_worst_and_best_are_by_mean_iu_and_none_is_there_twice():
    behind, rows, hist = counted(*[[[50, n], [0, 50]] for n in (5, 1, 9, 0, 7)])
    found = chosen(rows, behind, hist, 2)
    assert (found["worst"], found["best"]) == (["2", "4"], ["3", "1"])
    assert found["behind"] == []  # the worst ones are behind it


def test_of_few_images_all_are_shown_once():
    for count in range(1, 5):
        behind, rows, hist = counted(*[[[50, n], [0, 50]] for n in range(count)])
        found = chosen(rows, behind, hist, 6)
        shown = found["worst"] + found["best"] + found["behind"]
        assert sorted(shown) == [str(n) for n in range(count)]


def test_images_of_void_alone_are_neither_worst_nor_best():
    behind, rows, hist = counted([[0, 0], [0, 0]], [[3, 1], [0, 2]])
    assert chosen(rows, behind, hist, 3)["worst"] == ["1"]


def test_the_largest_confusions_bring_their_images():
    plain = [[[90, 1, 0], [0, 90, 0], [0, 0, 90]]] * 6
    special = [[80, 0, 0], [0, 80, 0], [7, 0, 80]]
    hists = [*plain[:3], special, *plain[3:]]
    behind, rows, hist = counted(*hists)
    rows[3]["mean_iu"] = rows[1]["mean_iu"]  # neither worst nor best
    assert chosen(rows, behind, hist, 1)["behind"] == ["3"]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_there_are_at_most_five_times_as_many_as_asked_for(count):
    rng = np.random.RandomState(1)
    behind, rows, hist = counted(*rng.randint(0, 50, (80, 7, 7)))
    found = chosen(rows, behind, hist, count)
    assert (len(found["worst"]), len(found["best"])) == (count, count)
    assert len(found["behind"]) <= 3 * count


def test_without_counts_by_image_worst_and_best_are_shown():
    _, rows, hist = counted([[9, 1], [0, 9]], [[9, 2], [0, 9]])
    assert chosen(rows, None, hist, 1) == {"worst": ["1"], "best": ["0"], "behind": []}
