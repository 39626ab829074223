"""Stage: the real training, on CamVid at its full size, for the time that there is."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import time

import numpy as np

from tools.common.cli import Failure
from tools.common.training_log import LOSS, RATE
from tools.gpu import pack, training_data, training_text
from tools.gpu.steps import Step, log_times
from tools.gpu.training_text import main_figure, markdown  # noqa: F401  (the report's)

TITLE = "Training"
WORDS = """
The recipe `prototxt/examples/camvid-gpu.toml`, with the toolkit's own commands: make_init.py puts
HED's trunk into the net, solve.py trains, score.py scores on val. A speed trial comes first, and
sets how many iterations the time is enough for; the rate falls to 0 over these. Scores are
comparable with others of the same number of iterations only. FCN-8s (at once) is trained too
where there is time for both.
"""
FIRST_SHARE, ENOUGH = 0.55, 1500
"""The first net's share of the time where it is enough for so many iterations; else it has all."""
SECOND_SHARE = 0.35  # of the time, which must be left for a second net
MARGIN = 4.0  # seconds kept for pictures
SNAPSHOT = 6.0  # seconds kept for the last snapshot and for what takes longer than in the trial
SCORED = 3  # scores on val on the way
TRIAL = (40, 10)  # iterations of the trial, and between its logged lines
SHOW_SECONDS = 8.0  # between two drawings of the curve
DRY_MOST, DRY_SECONDS = 60, 50.0  # iterations and seconds of a dry run
FEWEST = 8  # iterations that a training is planned for at least; the time may still end it before

_SCORE = re.compile(
    r"^>>> .* Iteration (\d+) (overall accuracy|mean accuracy|mean IU|fwavacc) (\S+)"
)
_KEYS = {"overall accuracy": "pixel_accuracy", "mean accuracy": "mean_accuracy",
         "mean IU": "mean_iu", "fwavacc": "fw_iu"}  # fmt: skip


class Told:
    """A job whose results are kept here as well."""

    def __init__(self, job):
        self.job, self.results, self.drawn = job, [], 0.0

    def result(self, kind, **values):
        self.results.append({"kind": kind, **values})
        self.job.result(kind, **values)

    def curve(self, now=False):
        """Draw the curve, if it is time."""
        if training_text.results_of(self.results, "loss") and (
            now or time.monotonic() - self.drawn > SHOW_SECONDS
        ):
            self.job.picture("training-curve", training_text.curve(self.results),
                             "Loss while training, and mean IU on val")  # fmt: skip
            self.drawn = time.monotonic()


def run(job):
    if job.data is not None:
        pack.check(job.data)
    data = training_data.data_set(job)
    told = Told(job)
    told.result("data", real=data.real, train=len(data.train), val=len(data.val),
                size=list(data.size), shrink=job.shrink)  # fmt: skip
    task = training_data.recipe(data, job.folder)
    trunk = training_data.trunk(job)
    masks = {}
    whole = min(job.left(), DRY_SECONDS) if data.dry else job.left()
    for number, net in enumerate(task.nets):
        left = job.left()
        if number and (data.dry or left < SECOND_SHARE * whole):
            break
        training = Training(told, data, task, net, whole if number == 0 else left,
                            1.0 if data.dry or number else FIRST_SHARE)  # fmt: skip
        try:
            masks_folder = training.run(trunk)
        except BaseException as error:
            if not isinstance(error, Exception):  # the stage is ended from outside
                told.result("note", net=net, text=f"ended at iteration {training.last}, before its "
                            "scores at the end")  # fmt: skip
            raise
        finally:
            training.tidy()
        if masks_folder is not None:
            masks[net] = masks_folder
            what = "Val frames" if data.real else "Synthetic val frames"
            job.picture("training-masks", training_text.masks(data, masks, task.classes),
                        f"{what}: photograph, truth (pale: void), prediction")  # fmt: skip


class Training:
    """One net, from its initial weights to its scores, within `seconds`, or within `share` of them
    where that is enough."""

    def __init__(self, told, data, task, net, seconds, share=1.0):
        self.told, self.job, self.data, self.task, self.net = told, told.job, data, task, net
        self.end = time.monotonic() + seconds
        self.early = time.monotonic() + seconds * share
        self.folder = self.job.folder / net
        self.device = ["--cpu"] if self.job.gpu is None else ["--gpu", str(self.job.gpu)]
        self.step, self.last = None, 0

    def left(self):
        return self.end - time.monotonic()

    def run(self, trunk):
        """The folder of the predictions on val, or None where the time was not enough."""
        training_data.write_nets(self.task, self.net, self.folder, self.job.shrink)
        init = self.folder / "init.caffemodel"
        self._call("surgery/make_init.py", "--net", self.folder / "train.prototxt", "--from", trunk,
                   "--out", init, "--fill-missing", "msra")  # fmt: skip
        pace = self._trial(init)
        if pace is None:
            return None
        weights = self._train(init, pace)
        return None if weights is None else self._score(weights)

    def _call(self, *words):
        """Run a command to its end."""
        self.step = Step(self.job, *words)
        self.step.finish()

    def _solve(self, init, iterations, prefix, display, score_every):
        settings = [f"snapshot_prefix={self.folder / prefix}", "snapshot=0", f"display={display}",
                    f"average_loss={display}"]  # fmt: skip
        if prefix == "trial":
            settings.append("snapshot_after_train=false")
        changes = [word for setting in settings for word in ("--set", setting)]
        self.step = Step(
            self.job, "solvers/solve.py", "--solver", self.folder / "solver.prototxt",
            "--weights", init, "--iterations", iterations, "--score-every", score_every,
            "--log", self.folder / f"{prefix}.log", *changes, *self.device,
        )  # fmt: skip
        return self.step

    def _trial(self, init):
        """{"iterations", …}: how many iterations the time is enough for, by trying a few; or None.

        Tells the speed. Its scores count for nothing: they are there to be timed.
        """
        count, display = (4, 1) if self.data.dry else TRIAL
        began = time.monotonic()
        self._solve(init, count, "trial", display, count).finish()
        whole = time.monotonic() - began
        stamps = log_times((self.folder / "trial.log").read_text(errors="replace"))
        step = float(np.median(np.diff(sorted(stamps.values()))[1:])) / display  # less a warm-up
        scoring = self.step.seconds_between("Begin seg tests", "fwavacc")
        start = max(0.0, whole - count * step - scoring)
        kept = 2 * start + (SCORED + 2) * scoring + SNAPSHOT + MARGIN
        if self.early - time.monotonic() - kept > ENOUGH * step:
            self.end = self.early
        iterations = max(FEWEST, int((self.left() - kept) / max(step, 1e-6)))
        if self.data.dry:
            iterations = min(iterations, DRY_MOST)
        iterations -= iterations % (
            SCORED + 1
        )  # so that the last one is scored before its snapshot
        pace = dict(ms=1000 * step, start=start, score_seconds=scoring, iterations=iterations)
        if self.left() < 2 * start + scoring + MARGIN:
            self.told.result("note", net=self.net, text=f"{max(0.0, self.left()):.0f} s were left "
                             f"after a trial ({1000 * step:.0f} ms an iteration), which is "
                             "too little for a training")  # fmt: skip
            return None
        self.told.result("speed", net=self.net, train=len(self.data.train), val=len(self.data.val),
                         **pace)  # fmt: skip
        return pace

    def _train(self, init, pace):
        """The trained weights' path. The run is stopped where its time ends before it does."""
        count, reserve = pace["iterations"], pace["start"] + pace["score_seconds"] + MARGIN
        display = max(1, min(count // 4, round(2000 / pace["ms"])))
        began = time.monotonic()
        step = self._solve(init, count, "train", display, count // (SCORED + 1))
        log = Follow(self.folder / "train.log")
        scores = {}
        while not step.ended(wait=0.5):
            self._tell(log, step, scores)
            if self.left() < reserve + SNAPSHOT / 2 and not step.asked:
                self.job.say("the training's time is over: a snapshot, then the scores")
                step.ask(signal.SIGTERM)
        self._tell(log, step, scores)
        if step.code not in (0, 128 + signal.SIGTERM):
            self.told.curve(now=True)
            raise Failure(step.failure())
        found = sorted(self.folder.glob("train_iter_*.caffemodel"), key=_iteration)
        reached = _iteration(found[-1]) if found else self.last
        self.told.result("trained", net=self.net, iteration=reached, of=count,
                         seconds=time.monotonic() - began)  # fmt: skip
        self.told.curve(now=True)
        return found[-1] if found else None

    def _tell(self, log, step, scores):
        """Tell the losses and scores that have come."""
        for iteration, loss, rate in log.losses():
            if np.isfinite(loss):  # what follows another is solve.py's own error
                self.told.result("loss", net=self.net, iteration=iteration, loss=loss, lr=rate)
            self.last = iteration
        for line in step.new_lines():
            found = _SCORE.match(line)
            if found is None:
                continue
            one = scores.setdefault(int(found[1]), {})
            one[_KEYS[found[2]]] = _finite(float(found[3]))
            if len(one) == len(_KEYS):
                self.told.result("score", net=self.net, iteration=int(found[1]), **one)
        self.told.curve()

    def _score(self, weights):
        masks, target = self.folder / "masks", self.folder / "scores.json"
        self._call("tools/score.py", "--net", self.folder / "val.prototxt", "--weights", weights,
                   "--task", training_data.RECIPE, "--save-dir", masks, "--json", target,
                   *self.device)  # fmt: skip
        scores = json.loads(target.read_text())
        keys = [key for _, key in training_text.SCORES]
        self.told.result("final", net=self.net, iteration=_iteration(weights),
                         loss=scores["loss"], **{key: scores[key] for key in keys},
                         iu={c["name"]: c["iu"] for c in scores["classes"]})  # fmt: skip
        self.told.curve(now=True)
        return masks

    def tidy(self):
        """End what still runs, and make room: a net's snapshots take 800 MB."""
        if self.step is not None:
            self.step.kill()
        for path in (*self.folder.glob("*.caffemodel"), *self.folder.glob("*.solverstate")):
            with contextlib.suppress(OSError):
                path.unlink()


class Follow:
    """A training log that grows."""

    def __init__(self, path):
        self.path, self.at, self.rest, self.loss = path, 0, "", {}

    def losses(self):
        """[(iteration, loss, rate)] of the lines that are new; a rate follows each loss."""
        found = []
        with contextlib.suppress(FileNotFoundError), open(self.path, errors="replace") as file:
            file.seek(self.at)
            *lines, self.rest = (self.rest + file.read()).split("\n")
            self.at = file.tell()
            for line in lines:
                if match := LOSS.search(line):
                    self.loss[int(match[1])] = float(match[2])
                elif (match := RATE.search(line)) and int(match[1]) in self.loss:
                    iteration = int(match[1])
                    found.append((iteration, self.loss.pop(iteration), float(match[2])))
        return found


def _iteration(path):
    return int(path.name.rsplit("_", 1)[-1].split(".")[0])


def _finite(value):
    return float(value) if np.isfinite(value) else None
