"""The stage training: a whole dry run, and what it does when its time ends."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from tests.helpers.training_job import NET, Job
from tools.common.cli import Failure, UserError
from tools.gpu import training, training_data
from tools.gpu.steps import Step

ENDED = """
import pathlib, signal, sys, time
folder = pathlib.Path({folder!r})
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
log = open(folder / "train.log", "w")
for i in range(600):
    print(f"I1128 11:02:12.391780 1 solver.cpp:1] Iteration {{i}} (1 iter/s, 1s/1 iters), "
          f"loss = {{2 / (i + 1)}}", file=log)
    print(f"I1128 11:02:12.391780 1 sgd.cpp:1] Iteration {{i}}, lr = 0.1", file=log, flush=True)
    if i == 0:
        for name in ("loss", "overall accuracy", "mean accuracy", "mean IU", "fwavacc"):
            print(">>> 2026-11-28 11:12:44.374845 Iteration 1", name, 0.25, flush=True)
    time.sleep(0.05)
    if stopped:
        (folder / f"train_iter_{{i + 1}}.caffemodel").write_bytes(b"weights")
        sys.exit(143)
"""


@pytest.fixture
def one(tmp_path, monkeypatch):
    """A Training of a few seconds whose solve.py is a script that goes on until it is stopped."""
    job = Job(tmp_path / "job")
    data = training_data.data_set(job)
    told = training.Told(job)
    told.result("data", real=False, train=12, val=4, size=[90, 120], shrink=32)
    made = training.Training(told, data, training_data.recipe(data, job.folder), NET, 10.0)
    made.folder.mkdir()

    def solve(*_):
        script = tmp_path / "solve.py"
        script.write_text(ENDED.format(folder=str(made.folder)))
        made.step = Step(job, script)
        return made.step

    monkeypatch.setattr(made, "_solve", solve)
    yield made
    made.tidy()


PLAN = dict(iterations=600, ms=50.0, start=0.5, score_seconds=0.1)


@pytest.mark.slow
def test_a_training_whose_time_ends_is_stopped_with_a_snapshot(one):
    weights = one._train(None, PLAN)
    (trained,) = [r for r in one.job.results if r["kind"] == "trained"]
    assert weights.name == f"train_iter_{trained['iteration']}.caffemodel"
    assert 1 < trained["iteration"] < trained["of"] == 600
    losses = [r for r in one.job.results if r["kind"] == "loss"]
    assert [r["iteration"] for r in losses] == list(range(trained["iteration"]))
    assert losses[1] == dict(kind="loss", net=NET, iteration=1, loss=1.0, lr=0.1)
    (score,) = [r for r in one.job.results if r["kind"] == "score"]
    assert score["mean_iu"] == 0.25 and score["iteration"] == 1


@pytest.mark.slow
def test_a_training_that_fails_keeps_its_losses_and_names_the_error(one, monkeypatch):
    text = ENDED.replace(
        "time.sleep(0.05)", "time.sleep(0.3); sys.exit('error: loss is not finite')"
    )
    monkeypatch.setitem(globals(), "ENDED", text)
    with pytest.raises(Failure, match="exit code 1: error: loss is not finite"):
        one._train(None, PLAN)
    assert [r["iteration"] for r in one.job.results if r["kind"] == "loss"] == [0]
    assert "training-curve" in one.job.pictures


@pytest.mark.slow
def test_what_ends_the_stage_is_told_with_the_iteration(tmp_path, monkeypatch):
    class OutOfTime(BaseException):
        pass

    def end(self, trunk):
        self.last = 30
        raise OutOfTime

    job = Job(tmp_path / "job")
    monkeypatch.setattr(training.Training, "run", end)
    with pytest.raises(OutOfTime):
        training.run(job)
    assert job.results[-1]["kind"] == "note"
    assert "ended at iteration 30" in training.markdown(job.results)


@pytest.mark.parametrize("seconds_left, nets", [(80.0, 2), (20.0, 1)])
def test_a_second_net_is_trained_where_enough_time_is_left(
    tmp_path, monkeypatch, seconds_left, nets
):
    """On a GPU, told here; nothing of a net is made."""
    job = Job(tmp_path / "job", seconds=100.0)
    training_data.make_up(tmp_path / "pack" / "camvid", size=(36, 48))
    job.gpu, job.data, job.shrink = 0, tmp_path / "pack", 1
    shares = []

    def run(self, trunk):
        shares.append(round((self.early - self.end) / 100 + 1, 2))
        job.end -= 100.0 - seconds_left

    monkeypatch.setattr(training.pack, "check", lambda folder: None)
    monkeypatch.setattr(training.Training, "run", run)
    training.run(job)
    assert shares == [0.55, 1.0][:nets]


@pytest.mark.slow
@pytest.mark.parametrize("ms, share", [(10.0, 0.55), (100.0, 1.0)])
def test_the_first_net_leaves_time_where_its_share_is_enough(one, monkeypatch, ms, share):
    lines = [f"I1128 11:02:{i * ms / 1000:09.6f} 1 s.cpp:1] Iteration {i} (1), loss = 1"
             for i in range(4)]  # fmt: skip

    def solve(*_):
        (one.folder / "trial.log").write_text("\n".join(lines))
        script = one.folder / "solve.py"
        script.write_text("print('Begin seg tests', flush=True); print('fwavacc')")
        one.step = Step(one.job, script)
        return one.step

    monkeypatch.setattr(one, "_solve", solve)
    one.data = one.data._replace(dry=False)
    monkeypatch.setattr(training, "TRIAL", (4, 1))
    one.end, one.early = one.end + 190, one.end + 100
    whole = one.end
    plan = one._trial(None)
    assert (one.end < whole) == (share < 1)
    assert plan["ms"] == pytest.approx(ms) and plan["iterations"] % 4 == 0
    assert plan["iterations"] * ms / 1000 < one.left()


def test_a_pack_that_is_not_whole_is_refused_at_once(tmp_path):
    (tmp_path / "pack").mkdir()
    job = Job(tmp_path / "job", data=tmp_path / "pack")
    with pytest.raises(UserError, match="manifest.json: No such file.*a whole pack"):
        training.run(job)


def test_a_log_that_grows_is_read_line_by_line(tmp_path):
    path = tmp_path / "train.log"
    log = training.Follow(path)
    assert log.losses() == []
    path.write_text("I1 s] Iteration 5, loss = 0.5\nI1 s] Iteration 5, lr = 0.0")
    assert log.losses() == []
    with open(path, "a") as file:
        file.write("01\nI1 s] Iteration 6")
    assert log.losses() == [(5, 0.5, 0.001)]
    with open(path, "a") as file:
        file.write(", loss = 0.4\n")
    assert log.losses() == []


@pytest.mark.slow
def test_a_dry_run_trains_scores_and_draws(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "DRY_MOST", 8)
    monkeypatch.setattr(training, "DRY_SECONDS", 500.0)  # however busy the machine is
    job = Job(tmp_path / "job", seconds=600.0)
    training.run(job)
    kinds = [result["kind"] for result in job.results]
    assert kinds[0] == "data" and kinds[-1] == "final"
    assert {"speed", "loss", "trained"} <= set(kinds)
    final = job.results[-1]
    assert final["net"] == NET and 0 <= final["mean_iu"] <= 1 and len(final["iu"]) == 11
    assert set(job.pictures) == {"training-curve", "training-masks"}
    for png, caption in job.pictures.values():
        Image.open(io.BytesIO(png)).verify()
        assert caption
    assert not list((tmp_path / "job").glob("*/*.caffemodel"))
