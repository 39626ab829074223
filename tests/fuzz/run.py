"""Damaged files, by the thousand, into the engine's readers.

    python -m tests.fuzz.run --inputs 9000 --seed 1 --target caffemodel

Each input must be read, or refused by the engine's own error in one line, in SECONDS of processor
time and in four times its size of memory and ROOM. Inputs depend on the seed and on their number
alone. They are read in a child process, so that a crash or an endless loop is one failure; the
next child goes on after it. The exit code is 1 if there was any failure.
"""

from __future__ import annotations

import argparse
import json
import logging
import mmap
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "4")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.fuzz import mutations, targets

SECONDS = 3.0
PATIENCE = 15.0  # by the clock, before a child that is silent is ended
ROOM = 64 << 20
ADDRESSES = 1 << 30  # what a child may map beyond what it starts with
SHARE = 4
BATCH = 2000  # inputs of one child
FAILURES = 20  # of one target, before it is given up
_PAGE = resource.getpagesize()


def make_input(name: str, seeds: list[bytes], seed: int, number: int) -> bytes:
    rng = random.Random(f"{seed} {name} {number}")
    return mutations.damaged(rng, seeds, targets.TARGETS[name].mutations)


def _memory_now(column: int = 1) -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[column]) * _PAGE


def _forget_peak() -> None:
    with open("/proc/self/clear_refs", "wb") as file:
        file.write(b"5")


def _peak() -> int:
    with open("/proc/self/status", "rb") as file:
        text = file.read()
    return int(text[text.index(b"VmHWM:") + 6 :].split(None, 1)[0]) << 10


class Board:
    """What parent and child both see: the present input's number, and the child's counts."""

    FORM = "<qqqdq"

    def __init__(self):
        self._map = mmap.mmap(-1, struct.calcsize(self.FORM))

    def write(self, *values) -> None:
        self._map[:] = struct.pack(self.FORM, *values)

    def read(self) -> tuple:
        return struct.unpack(self.FORM, self._map[:])


def _try(target, data: bytes, path: str) -> tuple[str, str, float, int]:
    """(outcome, what is wrong with it, processor seconds, bytes of memory)."""
    _forget_peak()
    before, start, wrong, result = _memory_now(), time.process_time(), "", "failed"
    try:
        result = targets.outcome(target, data, path)
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        wrong = f"{type(error).__name__} at {where}: {str(error)[:200]}"
    seconds, taken = time.process_time() - start, max(0, _peak() - before)
    if not wrong and taken > SHARE * len(data) + ROOM:
        wrong = f"it took {taken >> 20} MiB for {len(data)} bytes"
    if not wrong and seconds > SECONDS:
        wrong = f"it took {seconds:.1f} s"
    return result, wrong, seconds, taken


def _child(name: str, seeds, seed: int, first: int, last: int, board: Board, path, log) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = _memory_now(0) + ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    counts, worst_time, worst_memory = {"read": 0, "refused": 0, "failed": 0}, 0.0, 0
    for number in range(first, last):
        board.write(number, counts["read"], counts["refused"], worst_time, worst_memory)
        data = make_input(name, seeds, seed, number)
        result, wrong, seconds, taken = _try(targets.TARGETS[name], data, path)
        counts[result] += 1
        worst_time, worst_memory = max(worst_time, seconds), max(worst_memory, taken)
        if wrong:
            log.write(json.dumps([number, wrong]) + "\n")
            log.flush()
    board.write(last, counts["read"], counts["refused"], worst_time, worst_memory)


def _wait(pid: int, board: Board) -> str:
    """What ended the child: "" if it came to its end."""
    number, since = -1, time.monotonic()
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if board.read()[0] != number:
            number, since = board.read()[0], time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return f"it went on for more than {PATIENCE:.0f} s"
        time.sleep(0.02)
    if os.WIFSIGNALED(status):
        return f"crash: {signal.Signals(os.WTERMSIG(status)).name}"
    return f"the child ended with {os.WEXITSTATUS(status)}" if status else ""


def _batch(name, seeds, seed, first, last, folder: Path) -> tuple[int, tuple, list]:
    """(the number to go on with, counts and worst values, failures [number, what])."""
    board, log = Board(), folder / "failures"
    board.write(first, 0, 0, 0.0, 0)
    log.write_bytes(b"")
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with open(log, "a") as file:
                _child(name, seeds, seed, first, last, board, str(folder / "input"), file)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    try:
        ended = _wait(pid, board)
    except BaseException:  # stopped from outside: a child in an endless loop would stay
        os.kill(pid, signal.SIGKILL)
        raise
    number, *values = board.read()
    failures = [json.loads(line) for line in log.read_text().splitlines()]
    if ended:
        failures.append([number, ended])
        number += 1
    return number, tuple(values), failures


class Result:
    """A target's row of the table."""

    def __init__(self, name: str):
        self.name, self.inputs, self.read, self.refused = name, 0, 0, 0
        self.seconds, self.memory, self.failures = 0.0, 0, []

    def add(self, inputs: int, values: tuple, failures: list) -> None:
        read, refused, seconds, memory = values
        self.inputs, self.read, self.refused = (
            self.inputs + inputs,
            self.read + read,
            self.refused + refused,
        )
        self.seconds, self.memory = max(self.seconds, seconds), max(self.memory, memory)
        self.failures += failures

    def row(self) -> str:
        return (
            f"{self.name:18}{self.inputs:>9}{self.read:>9}{self.refused:>9}"
            f"{self.seconds * 1000:>11.0f} ms{self.memory / 2**20:>11.1f} MiB"
            f"{len(self.failures):>10}"
        )


HEAD = (
    f"{'target':18}{'inputs':>9}{'read':>9}{'refused':>9}{'worst time':>14}{'worst memory':>15}"
    f"{'failures':>10}"
)


def _save(name: str, data: bytes, number: int, seed: int, out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}-{seed}-{number}"
    path.write_bytes(data)
    return path


def fuzz(name: str, inputs: int, seed: int, out: Path, show=print) -> Result:
    """Read `inputs` damaged files of the target `name`; failing ones are kept under `out`."""
    result = Result(name)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=targets.folder_for_files()))
    try:
        seeds = targets.TARGETS[name].seeds(folder)
        for data in seeds:
            assert targets.outcome(targets.TARGETS[name], data, str(folder / "seed")) == "read"
        number = 0
        while number < inputs and len(result.failures) < FAILURES:
            first, last = number, min(inputs, number + BATCH)
            number, values, failures = _batch(name, seeds, seed, first, last, folder)
            result.add(number - first, values, failures)
            for failed, what in failures:
                data = make_input(name, seeds, seed, failed)
                show(f"{name}: {what}: {_save(name, data, failed, seed, out)}")
            if sys.stderr.isatty():
                print(f"\r{name} {number}/{inputs}\033[K", end="", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=9000, help="in all, shared by the targets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=list(targets.TARGETS), action="append")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "fuzz-failures")
    args = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)  # an upgrade tells what it drops
    warnings.simplefilter("ignore")  # Pillow, of large pictures
    names = args.target or list(targets.TARGETS)
    start, rows = time.monotonic(), []
    print(HEAD, flush=True)
    for i, name in enumerate(names):
        share = args.inputs // len(names) + (i < args.inputs % len(names))
        rows.append(fuzz(name, share, args.seed, args.out))
        print(("\r\033[K" if sys.stderr.isatty() else "") + rows[-1].row(), flush=True)
    total, failed = sum(row.inputs for row in rows), sum(len(row.failures) for row in rows)
    print(
        f"{total} inputs in {time.monotonic() - start:.0f} s, seed {args.seed}: {failed} failures"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
