"""Which training writes at a snapshot prefix, and which of the snapshots there belong to it.

A training that goes back to an earlier snapshot leaves later ones of the abandoned branch behind,
under names that its own will have. So each training has an id; it stands in its snapshots, with
those of the trainings that it went on from and the iteration at which it left each, its
`lineage`. The training that wrote last, or is to write, is named in `<prefix>.run.json`, from its
first iteration on; it alone holds `<prefix>.lock`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import socket
import sys
import time
import uuid
import weakref
from dataclasses import dataclass, field

from ..errors import InputError
from ..log import WARNING, log
from ..proto.files import atomic_write, in_the_way
from ..proto.opening import read_whole


@dataclass
class Run:
    """A training: its id, and what it went on from, oldest first, as (id, iteration). An id of
    None is that of a training that had none: of BVLC Caffe, or of an older engine."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    lineage: list[tuple[str | None, int]] = field(default_factory=list)

    @classmethod
    def after(cls, earlier: Run | None, iteration: int) -> Run:
        """A new training that goes on from a snapshot of `earlier`."""
        if earlier is None:
            return cls(lineage=[(None, iteration)])
        return cls(lineage=[*earlier.lineage, (earlier.id, iteration)])

    @classmethod
    def from_json(cls, stored) -> Run | None:
        """The run in a position file or in `<prefix>.run.json`; None where that names none."""
        if not isinstance(stored, dict) or "run" not in stored:
            return None
        lineage = [(None if i is None else str(i), int(n)) for i, n in stored["lineage"]]
        return cls(str(stored["run"]), lineage)

    def as_json(self) -> dict:
        return {"run": self.id, "lineage": self.lineage}

    def root(self) -> bytes:
        """The id of the training that this one has come from in the end, or its own."""
        known = [earlier for earlier, _ in self.lineage if earlier is not None]
        return (known[0] if known else self.id).encode()

    def went_through(self, run: str | None, iteration: int) -> bool:
        """Whether iteration `iteration` of the run of that id led to this one."""
        if run == self.id:
            return True
        return any(run == earlier and iteration <= left for earlier, left in self.lineage)


LONGEST_NOTE = 1 << 24
"""More bytes than a lock or `<prefix>.run.json` has."""
LONGEST_POSITION = 1 << 28
"""More bytes than a position has."""

# -- the lock -----------------------------------------------------------------------------------

_held: dict[str, int] = {}
"""The locks of this process: absolute prefix, links resolved -> file descriptor."""
_named: dict[str, str] = {}
"""The trainings that this process has named in <prefix>.run.json: absolute prefix -> id."""
_users: dict[str, set[int]] = {}
"""Whom each lock is held for: absolute prefix -> ids of objects."""


def _forget_in_child() -> None:
    """A forked process trains nothing: it must not hold the lock when its parent has ended."""
    for handle in _held.values():
        with contextlib.suppress(OSError):
            os.close(handle)
    for kept in (_held, _named, _users):
        kept.clear()


os.register_at_fork(after_in_child=_forget_in_child)


def claim(prefix: str, run: Run, owner) -> None:
    """Make `run` the training that writes at `prefix`, as long as the object `owner` lives and this
    process: InputError where another process trains there. Where the file system has no locks,
    a warning. Several owners of one process may share a prefix."""
    folder, name = os.path.split(prefix)
    place = os.path.join(os.path.realpath(folder), name)
    if _named.get(place) != run.id:  # later its last snapshot counts for more
        _check_ours(prefix + ".run.json", "about a training", ("run", "lineage"))
    if place not in _held:
        _lock(prefix, place)
    if id(owner) not in _users.setdefault(place, set()):
        _users[place].add(id(owner))
        weakref.finalize(owner, _release, place, id(owner))
    if _named.get(place) == run.id and os.path.exists(prefix + ".run.json"):
        return
    with atomic_write(prefix + ".run.json") as file:
        file.write(json.dumps(run.as_json()).encode())
    _named[place] = run.id


def _release(place: str, owner: int) -> None:
    users = _users.get(place, set())
    users.discard(owner)
    if not users and place in _held:
        os.close(_held.pop(place))
        _named.pop(place, None)


def _lock(prefix: str, place: str) -> None:
    path = prefix + ".lock"
    _check_ours(path, "a lock of a training", ("process", "command"))
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(handle)
        os.close(handle)
        raise InputError(
            f"snapshot_prefix '{prefix}': another training writes its snapshots there ({holder}); "
            "wait until it ends, or give another snapshot_prefix"
        ) from None
    except OSError as error:
        log(
            f"{path}: no lock ({error.strerror}): nothing keeps a second training from the same "
            "snapshot_prefix",
            WARNING,
        )
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        words = " ".join([os.path.basename(sys.argv[0] or "python"), *sys.argv[1:]])
        about = {"process": os.getpid(), "host": socket.gethostname(), "command": words[:200],
                 "since": time.strftime("%Y-%m-%d %H:%M:%S")}  # fmt: skip
        os.pwrite(handle, json.dumps(about).encode(), 0)
    _held[place] = handle


def _check_ours(path: str, what: str, keys: tuple[str, str]) -> None:
    """InputError where `path` is a file of somebody else's, without one of `keys`: poetry.lock is
    one, where snapshot_prefix is 'poetry'."""

    def ours(file) -> bool:
        content = file.read(LONGEST_NOTE)
        return content[:1] == b"{" and all(f'"{key}": '.encode() in content for key in keys)

    problem = in_the_way(path, what, ours)
    if problem:
        raise InputError(f"{path}: cannot be written: {problem} (another snapshot_prefix)")


def _holder(handle: int) -> str:
    try:
        found = json.loads(os.pread(handle, 4096, 0))
        text = (
            f"process {int(found['process'])} on {found['host']} since {found['since']}: "
            f"{found['command']}"
        )
        return "".join(c if c.isprintable() else "?" for c in text)
    except (OSError, ValueError, KeyError, TypeError):
        return "of which nothing is known"


# -- the snapshots of a run ---------------------------------------------------------------------


def position_path(state_path: str) -> str:
    """The side file of a solverstate."""
    for ending in (".solverstate.h5", ".solverstate"):
        if state_path.endswith(ending):
            return state_path[: -len(ending)] + ".position.json"
    return state_path + ".position.json"


def read_json(path: str):
    """What a JSON file beside snapshots holds. InputError and ValueError where it is damaged."""
    return json.loads(bytes(read_whole(path, LONGEST_POSITION)))


def _read_json(path: str):
    try:
        return read_json(path)
    except (InputError, ValueError, RecursionError):
        return None


def snapshots(prefix: str) -> list[tuple[int, str, str | None]]:
    """The solverstates at `prefix`, newest iteration first, as (iteration, path, why not): None
    for those of the training that wrote there last, or led to it; for others in words why to go
    on from them would mix two trainings."""
    folder, name = os.path.split(prefix)
    pattern = re.compile(re.escape(name) + r"_iter_(\d+)\.solverstate(\.h5)?$")
    entries = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
    found = [
        (int(match.group(1)), os.path.join(folder, match.group()))
        for match in map(pattern.match, entries)
        if match
    ]
    present = _read_run(prefix + ".run.json")
    return [
        (iteration, path, _why_not(path, iteration, prefix, present))
        for iteration, path in sorted(found, reverse=True)
    ]


def lone_weights(prefix: str) -> list[tuple[int, str]]:
    """The caffemodels at `prefix` that are no snapshots, as (iteration, path): see `is_lone`."""
    folder, name = os.path.split(prefix)
    pattern = re.compile(re.escape(name) + r"_iter_(\d+)\.caffemodel(\.h5)?$")
    entries = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
    matches = [match for match in map(pattern.match, entries) if match]
    found = [(int(match.group(1)), os.path.join(folder, match.group())) for match in matches]
    return sorted((iteration, path) for iteration, path in found if is_lone(path))


def is_lone(model: str) -> bool:
    """Whether the caffemodel `model` is there without the other files of a snapshot: weights that
    somebody keeps or has downloaded, or that no training can be resumed from any more."""
    if not os.path.lexists(model) or os.path.isdir(model):
        return False
    stem = re.sub(r"\.caffemodel(\.h5)?$", "", model)
    others = (".position.json", ".solverstate", ".solverstate.h5")
    return not any(os.path.exists(stem + ending) for ending in others)


def not_ours(model: str) -> str:
    """Why such weights are not replaced by a snapshot, and what to do."""
    return (
        f"{model}: is there already, and is of no snapshot (no solverstate is beside it); move it "
        "away, or give another snapshot_prefix"
    )


def _read_run(path: str) -> Run | None:
    """The run that a JSON file names; None where it names none, is damaged or not there."""
    try:
        return Run.from_json(_read_json(path))
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def _age(path: str) -> float:
    try:
        return os.path.getmtime(path)
    except OSError:  # it has just gone
        return 0.0


def _why_not(path: str, iteration: int, prefix: str, present: Run | None) -> str | None:
    if present is None:
        return None
    writer = _read_run(position_path(path))
    if writer is not None:
        ours = present.went_through(writer.id, iteration)
    elif _age(path) >= _age(prefix + ".run.json"):
        ours = True  # BVLC Caffe has gone on since
    else:
        ours = present.went_through(None, iteration)
    if ours:
        return None
    left = [n for _, n in present.lineage if n < iteration]
    at = f", which went back to iteration {left[-1]}" if left else ""
    return f"is not of the training that wrote there last{at}"
