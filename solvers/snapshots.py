"""What a training has written of snapshots, which of them are kept, and which are no good.

`<prefix>.snapshots.json` lists the files of each snapshot with size and time, and its score. Only
what is listed, and is as it was written, is ever deleted. A snapshot of a training that has
diverged has a `problem` there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re

from prototxt.opening import read_regular
from solvers.curves import best_of, number
from tools.common.cli import UserError, warn
from tools.common.files import check_target, write
from tools.common.written import json_of

WRITTEN = json_of("a list of a training's snapshots", "snapshots", "ended")
ENDINGS = (".solverstate", ".solverstate.h5", ".caffemodel", ".caffemodel.h5", ".position.json")
"""Of a snapshot's files, in the order in which they are deleted: without its solverstate it is no
snapshot any more, and with its position its weights are known as those of one."""


class Keep:
    """Which snapshots stay: `--keep best,last:2`. UserError for other words."""

    def __init__(self, text):
        words = [word.strip() for word in text.split(",")]
        self.all = words == ["all"]
        self.best, self.last = "best" in words, 0
        for word in [] if self.all else words:
            number = re.fullmatch(r"last:([1-9]\d{0,5})", word)
            if number:
                self.last = int(number.group(1))
            elif word != "best":
                alone = " stands alone" if word == "all" else ": is not best, last:N or all"
                raise UserError(f"--keep {text}: '{word}'{alone}; write it as best,last:2")

    def chosen(self, iterations, best):
        """The iterations that stay, of sorted ones; best: that of the best score, or None."""
        last = iterations[-max(1, self.last) :]  # a resumption goes on from the newest
        return {*last, *([best] if self.best and best is not None else [])}


def path_of(prefix):
    return f"{prefix}.snapshots.json"


def read(prefix):
    """The list at `prefix`, empty where there is none, or a damaged one."""
    empty: dict = {"snapshots": {}, "ended": None, "run": None}
    try:
        found = json.loads(read_regular(path_of(prefix)))
        known = {int(at): dict(one) for at, one in found["snapshots"].items()}
        for one in known.values():
            one["files"] = {str(name): list(was) for name, was in one["files"].items()}
        return {"snapshots": known, "ended": found["ended"], "run": found.get("run")}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return empty


def problems(prefix):
    """{iteration: problem} of the snapshots that are marked, and are those that were."""
    folder = os.path.dirname(prefix)
    return {
        at: one["problem"]
        for at, one in read(prefix)["snapshots"].items()
        if one.get("problem") and not _changed(folder, one)
    }


def mark(prefix, found):
    """Mark snapshots as no good: {iteration: problem}. Those that are not listed are added."""
    listed = read(prefix)
    for at, problem in found.items():
        one = listed["snapshots"].get(at)
        if one is None or _changed(os.path.dirname(prefix), one):
            one = listed["snapshots"][at] = {"files": _files(prefix, at), "ours": False}
        one["problem"] = problem
    _save(prefix, listed)


def ended(prefix, count):
    """The iteration at which the training ended early, its score having not risen `count` times or
    more; None where it has not."""
    found = read(prefix)["ended"]
    try:
        return int(found["iter"]) if found["scores"] >= count else None
    except (TypeError, KeyError, ValueError):
        return None


def _run(path):
    """The run that a JSON file of the engine's names, or None."""
    try:
        return json.loads(read_regular(path))["run"]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _files(prefix, iteration):
    """{name: [size, time]} of the files of a snapshot."""
    stem, found = f"{prefix}_iter_{iteration}", {}
    for ending in ENDINGS:
        with contextlib.suppress(OSError):
            about = os.stat(stem + ending)
            found[os.path.basename(stem) + ending] = [about.st_size, about.st_mtime_ns]
    return found


def _changed(folder, one):
    """The files of a listed snapshot that are others now. Those that are gone are not."""
    found = []
    for name, was in one["files"].items():
        with contextlib.suppress(FileNotFoundError):
            about = os.stat(os.path.join(folder, name))
            if [about.st_size, about.st_mtime_ns] != was:
                found.append(name)
    return found


def _save(prefix, listed):
    snapshots = {str(at): listed["snapshots"][at] for at in sorted(listed["snapshots"])}
    content = {**listed, "snapshots": snapshots}
    write(path_of(prefix), json.dumps(content, indent=1) + "\n", WRITTEN)


class Snapshots:
    """The list of the training that starts, or goes on, at iteration `begin`, and what `keep`
    leaves of it. UserError where another file is in the place."""

    def __init__(self, prefix, begin, keep):
        self.prefix, self.keep = prefix, keep
        self._folder, self._said = os.path.dirname(prefix), set()
        check_target(path_of(prefix), WRITTEN)
        self._list = read(prefix)
        for at in [at for at in self._list["snapshots"] if at > begin]:
            if begin and self._list["snapshots"][at].get("problem"):
                self._list["snapshots"][at]["ours"] = False  # of a branch that is left
            else:
                del self._list["snapshots"][at]
        if begin not in self._list["snapshots"] and begin and self._wrote(begin):
            self._list["snapshots"][begin] = {"files": _files(prefix, begin), "ours": True}
        self._list["ended"], self._list["run"] = None, _run(f"{prefix}.run.json")
        self._save()

    def _wrote(self, iteration):
        """Whether the run that kept the list last wrote this snapshot, and was killed before it
        could list it."""
        run = _run(f"{self.prefix}_iter_{iteration}.position.json")
        return run is not None and run == self._list["run"]

    def add(self, iteration):
        """List the snapshot that was just written."""
        one = {"files": _files(self.prefix, iteration), "ours": True, "problem": None}
        self._list["snapshots"][iteration] = one
        self._save()

    def end_early(self, iteration, count):
        """List that the training has ended, its score having not risen `count` times."""
        self._list["ended"] = {"iter": iteration, "scores": count}
        self._save()

    def tidy(self, scores):
        """Delete the older snapshots that are not to be kept; scores: {iteration: mean IU}, of
        which the list has those of its snapshots too, for when they are not known any more."""
        ours = sorted(at for at, one in self._list["snapshots"].items() if one.get("ours"))
        best = best_of(self._scored(ours, scores))
        if self.keep.all or not ours or not self._whole(ours[-1]):
            return
        kept, needed = self.keep.chosen(ours, best), gone_on_from(self._folder)
        for at in ours:
            if at not in kept and not self._needed(at, needed):
                self._delete(at)

    def _scored(self, ours, scores):
        """{iteration: mean IU} of the snapshots, as far as it is known."""
        listed, found = self._list["snapshots"], {}
        new = {at: number(scores[at]) for at in ours if at in scores}
        new = {at: value for at, value in new.items() if listed[at].get("mean_iu") != value}
        for at, value in new.items():
            listed[at]["mean_iu"] = value
        if new:
            self._save()
        for at in ours:
            if isinstance(listed[at].get("mean_iu"), float):
                found[at] = listed[at]["mean_iu"]
        return found

    def _whole(self, newest):
        one = self._list["snapshots"][newest]
        there = all(os.path.isfile(os.path.join(self._folder, name)) for name in one["files"])
        kinds = {ending.split(".")[1] for ending in ENDINGS for name in one["files"]
                 if name.endswith(ending)}  # fmt: skip
        whole = there and not _changed(self._folder, one) and {"solverstate", "caffemodel"} <= kinds
        if not whole:
            self._say(f"{self.prefix}_iter_{newest}: is not whole any more; --keep deletes nothing")
        return whole

    def _needed(self, at, needed):
        names = self._list["snapshots"][at]["files"]
        return any(os.path.realpath(os.path.join(self._folder, name)) in needed for name in names)

    def _delete(self, at):
        one = self._list["snapshots"][at]
        changed = _changed(self._folder, one)
        if changed:
            self._say(f"{os.path.join(self._folder, changed[0])}: is another file than this "
                      "training wrote, and is kept, with its snapshot")  # fmt: skip
            return
        for ending in ENDINGS:
            name = f"{os.path.basename(self.prefix)}_iter_{at}{ending}"
            if name in one["files"]:
                try:
                    os.unlink(os.path.join(self._folder, name))
                except FileNotFoundError:
                    pass
                except OSError as error:
                    self._say(f"{os.path.join(self._folder, name)}: cannot be deleted "
                              f"({error.strerror})")  # fmt: skip
                    return
        del self._list["snapshots"][at]
        self._save()

    def _save(self):
        try:
            _save(self.prefix, self._list)
        except (OSError, UserError) as error:
            self._say(f"{path_of(self.prefix)}: cannot be written ({error}); without it no "
                      "snapshot of now is deleted later")  # fmt: skip

    def _say(self, line):
        if line not in self._said:
            self._said.add(line)
            warn(line)


def gone_on_from(folder):
    """The real paths of files that the stages of trainings around `folder` have started from: what
    their stage.json names."""
    near = os.path.dirname(os.path.realpath(folder or "."))
    found: set = set()
    for place in (near, os.path.dirname(near)):
        found |= _sources(place, 1)
    return found | _sources(os.path.dirname(near), 2)


def _sources(place, depth):
    if depth > 1:
        inner = _folders(place)
        return set().union(*(_sources(one, depth - 1) for one in inner)) if inner else set()
    found: set = set()
    for folder in _folders(place):
        try:
            facts = json.loads(read_regular(os.path.join(folder, "stage.json")))
            words = [*map(str, facts.get("init", [])), *map(str, facts.get("files", {}))]
        except (OSError, ValueError, AttributeError, TypeError):
            continue
        found |= {os.path.realpath(part) for word in words for part in (word, *word.split(":"))}
    return found


def _folders(place):
    try:
        return [entry.path for entry in os.scandir(place) if entry.is_dir()]
    except OSError:
        return []
