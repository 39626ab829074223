"""solve.py in several processes: the numbers of one process, and one order of the data."""

from __future__ import annotations

import json

import numpy as np
import pytest

from caffe.engine import read_weights
from tests.helpers import many, tiny_run

pytestmark = pytest.mark.slow
BEGIN = ("--solver", "solver.prototxt", "--weights", "init.caffemodel", "--cpu")
GO_ON = ("--solver", "solver.prototxt", "--resume", "auto", "--cpu")


@pytest.fixture
def plain(folder):
    """The tiny run without dropout, which no two processes draw alike, and a script for each rank
    to save its parameters at the end."""
    net = (folder / "train.prototxt").read_text()
    kept = [line for line in net.splitlines() if '"Dropout"' not in line]
    (folder / "train.prototxt").write_text("\n".join(kept))
    (folder / "dumping.py").write_text(many.DUMPING)
    return folder


def weights(path):
    return [array for _, _, blobs in read_weights(str(path)) for _, array in blobs]


def iterations(count):
    return ("--iterations", str(count))


def sets(changes):
    return [word for one in changes for word in ("--set", one)]


def trained(folder, count, *args):
    """Each rank's parameters after a training in `count` processes."""
    if count == 1:
        code, lines = tiny_run.solve(folder, *args[2:])
        assert code == 0, lines
        return []
    for code, _, lines in many.run_group(folder, count, "dumping.py", *args):
        assert code == 0, lines
    return [weights(folder / f"rank{rank}.caffemodel") for rank in range(count)]


def final(folder, iteration):
    return weights(folder / f"out/train_iter_{iteration}.caffemodel")


def consumed(folder, iteration):
    text = (folder / f"out/train_iter_{iteration}.position.json").read_text()
    return json.loads(text)["layers"]["data"]["consumed"]


def assert_alike(first, second, how=np.testing.assert_array_equal, **more):
    assert len(first) == len(second)
    for one, other in zip(first, second):
        how(one, other, **more)


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.long)])
def test_processes_train_as_one_whose_iter_size_is_their_number(plain, count):
    ranks = trained(plain, count, *BEGIN, *iterations(6))
    for other in ranks[1:]:
        assert_alike(ranks[0], other)
    assert_alike(ranks[0], final(plain, 6))
    assert consumed(plain, 6) == 6 * count
    for path in (plain / "out").iterdir():
        path.unlink()
    trained(plain, 1, *BEGIN, *iterations(6), "--set", f"iter_size={count}")
    assert_alike(ranks[0], final(plain, 6), np.testing.assert_allclose, rtol=1e-5, atol=1e-7)
    assert consumed(plain, 6) == 6 * count
    start = weights(plain / "init.caffemodel")
    assert max(abs(a - b).max() for a, b in zip(start, ranks[0])) > 1e-4  # it did learn


AUGMENTED = "'mirror': True, 'scale': (0.7, 1.6), 'crop': (9, 10), 'jitter': 0.4, 'batch': 2, "


@pytest.mark.long
@pytest.mark.parametrize("mean, rate", [("false", 1e-5), ("true", 0.01)])
def test_with_every_change_at_random_two_processes_train_as_one_with_iter_size_two(
    plain, mean, rate
):
    """The mean is over pixels that are not void, which differ from batch to batch."""
    path = plain / "train.prototxt"
    net = path.read_text().replace("normalize: false", f"normalize: {mean}")
    path.write_text(net.replace("'split'", AUGMENTED + "'split'", 1))
    changes = ("--set", f"base_lr={rate}")
    ranks = trained(plain, 2, *BEGIN, *iterations(6), *changes)
    assert_alike(ranks[0], ranks[1])
    for path in (plain / "out").iterdir():
        path.unlink()
    changes += ("--set", "iter_size=2")
    trained(plain, 1, *BEGIN, *iterations(6), *changes)
    assert_alike(ranks[0], final(plain, 6), np.testing.assert_allclose, rtol=1e-5, atol=1e-7)
    start = weights(plain / "init.caffemodel")
    assert max(abs(a - b).max() for a, b in zip(start, ranks[0])) > 1e-4  # it did learn
    through = tiny_run.result(plain, 6)
    (plain / "out/train_iter_6.solverstate").unlink()
    trained(plain, 1, *GO_ON, *iterations(6), *changes)  # from iteration 5
    assert tiny_run.result(plain, 6) == through


@pytest.mark.long
def test_a_training_goes_on_in_the_same_order_with_another_number_of_processes(plain):
    """Four iterations of 3 items each by 3 processes, then of 2 by 2, then of 1 by one process."""
    trained(plain, 3, *BEGIN, *iterations(3))
    assert consumed(plain, 3) == 9
    trained(plain, 2, *GO_ON, *iterations(6))
    assert consumed(plain, 6) == 15
    trained(plain, 1, *GO_ON, *iterations(8))
    assert consumed(plain, 8) == 17
    several = final(plain, 8)
    for path in (plain / "out").iterdir():
        path.unlink()
    for last, size in ((3, 3), (6, 2), (8, 1)):
        begin = BEGIN if last == 3 else GO_ON
        trained(plain, 1, *begin, *iterations(last), "--set", f"iter_size={size}")
    assert_alike(several, final(plain, 8), np.testing.assert_allclose, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("changes, of_one", [
    # Caffe clips before it divides by iter_size.
    (["clip_gradients=50"], ["clip_gradients=100", "iter_size=2"]),
    (["iter_size=2"], ["iter_size=4"]),
    (["type=Adam", "momentum2=0.99", "base_lr=1e-4"],
     ["type=Adam", "momentum2=0.99", "base_lr=1e-4", "iter_size=2"]),
    (["snapshot_diff=true"], ["iter_size=2"]),
])  # fmt: skip
@pytest.mark.long
def test_what_needs_all_gradients_at_once_has_the_mean_of_all_ranks(plain, changes, of_one):
    ranks = trained(plain, 2, *BEGIN, *iterations(4), *sets(changes))
    assert_alike(ranks[0], ranks[1])
    for path in (plain / "out").iterdir():
        path.unlink()
    trained(plain, 1, *BEGIN, *iterations(4), *sets(of_one))
    assert_alike(ranks[0], final(plain, 4), np.testing.assert_allclose, rtol=1e-5, atol=1e-7)


def test_a_training_that_is_resumed_has_the_bits_of_one_that_was_not_stopped(folder):
    """With dropout, of which each rank has masks of its own."""
    args = ("--set", "snapshot=4")
    for code, _, lines in many.run_group(folder, 2, many.SOLVE, *BEGIN, *args):
        assert code == 0, lines
    through = tiny_run.result(folder, 12)
    for path in (folder / "out").glob("train_iter_12*"):
        path.unlink()
    for path in (folder / "out").glob("train_iter_8*"):
        path.unlink()
    for code, _, lines in many.run_group(folder, 2, many.SOLVE, *GO_ON, *args):
        assert code == 0, lines
    assert tiny_run.result(folder, 12) == through


def test_one_rank_speaks_and_says_once_what_the_batch_became(folder):
    first, second = many.run_group(folder, 2, many.SOLVE, *BEGIN, "--score-every", "6")
    assert second == (0, [], [])
    said = [line for line in first[2] if "one process with iter_size 2" in line]
    assert len(said) == 1 and first[0] == 0
    assert sum("mean IU" in line for line in first[1]) == 2


@pytest.mark.long
def test_gradients_may_go_as_bfloat16(plain):
    ranks = trained(plain, 2, *BEGIN, *iterations(4), "--gradients", "bfloat16")
    assert_alike(ranks[0], ranks[1])
    for path in (plain / "out").iterdir():
        path.unlink()
    exact = trained(plain, 2, *BEGIN, *iterations(4))
    assert_alike(ranks[0], exact[0], np.testing.assert_allclose, rtol=0.02, atol=2e-5)
    assert any((a != b).any() for a, b in zip(ranks[0], exact[0]))


def test_the_real_torchrun_trains_with_gloo(folder):
    process = many.torchrun(folder, ["--standalone", "--nproc-per-node", "2"], many.SOLVE, *BEGIN)
    code, lines = many.ended(process)
    assert code == 0, lines
    assert tiny_run.snapshots(folder) == [5, 10, 12]


def test_rank_0_alone_watches_and_all_end_early_together(folder):
    watched = ("--set", "snapshot=1", "--set", "base_lr=1e-30", "--keep", "best,last:2",
               "--score-every", "1", "--stop-early", "5")  # fmt: skip
    first, second = many.run_group(folder, 2, many.SOLVE, *BEGIN, *watched)
    assert (first[0], second) == (0, (0, [], []))
    assert first[2][-1].startswith("ended at iteration 6 of 12, with a snapshot: mean IU has not")
    lines = [json.loads(line) for line in (folder / "out/metrics.jsonl").read_text().splitlines()]
    assert [one["iter"] for one in lines if "scores" in one] == [1, 2, 3, 4, 5, 6]
    assert tiny_run.snapshots(folder) == [1, 5, 6]
    first, second = many.run_group(folder, 2, many.SOLVE, *GO_ON, *watched)
    assert (first[0], second) == (0, (0, [], [])) and "ended at iteration 6" in first[2][-1]
