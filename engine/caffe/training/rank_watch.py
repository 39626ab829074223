"""Each rank's thread that says that it is alive, and looks whether the others are.

A rank that has ended by an error has told why. One that was killed leaves its process number: gone
on this machine at once, on another one its heartbeat stops. One that is stopped has no heartbeat.
A rank that computes, tests or writes for hours has one.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from typing import Callable

from .meeting import Gone, Meeting, Place

TICK = 0.5
"""Seconds between two beats, at most."""
GRACE = 3.0
"""Seconds in which the main thread may find out by itself that another rank is gone."""
ENDING = 600.0
"""Seconds in which it may end the work, once it has: a large snapshot takes its time."""


class Trouble(Exception):
    """Rank `rank` is why this training cannot go on; `why` in words."""

    def __init__(self, rank: int, why: str, code: int = 1, keep: bool = True):
        super().__init__(why)
        self.rank, self.why, self.code, self.keep = rank, why, code, keep

    def as_error(self) -> Gone:
        return Gone(f"rank {self.rank}: {self.why}", self.code, self.keep)


def _process(number: int) -> str:
    """The state of a process of this machine, one letter, and when it began; "" if it has ended."""
    try:
        with open(f"/proc/{number}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[0] + fields[19]


def machine() -> str:
    """Tells machines, and containers with process numbers or a network of their own, apart."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            own = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "net")]
            return " ".join([file.read().strip(), *own])
    except OSError:
        return socket.gethostname()


class Awake:
    """A clock that goes on while this process does: a pause of it counts for `most` seconds at
    each look. After a pause of all ranks the others are heard again before they count as gone."""

    def __init__(self, most: float):
        self._most, self._seen, self.seconds = most, time.monotonic(), 0.0

    def look(self) -> float:
        """Seconds since the beginning, or `again`."""
        now = time.monotonic()
        self.seconds += min(now - self._seen, self._most)
        self._seen = now
        return self.seconds

    def again(self) -> None:
        self._seen, self.seconds = time.monotonic(), 0.0


class Watch:
    """Watches the other ranks from now until `close`. `take_over(trouble)` is called in the
    watch's thread, and ends the process, where the main thread has not noticed by itself."""

    def __init__(
        self, place: Place, attempt: str, heartbeat: float, take_over: Callable[[Trouble], None]
    ):
        self.place, self.heartbeat = place, heartbeat
        self.trouble: Trouble | None = None
        self.orphaned = False
        """What had started the ranks of this machine is gone."""
        self.noticed = threading.Event()
        """The main thread knows, and ends the work itself."""
        self.overdue: Callable[[], Trouble | None] = lambda: None
        """Says, in each turn, where this rank itself has to be ended."""
        self._take_over = take_over
        self._meeting = Meeting(place, attempt)
        self._here: dict[int, dict] = {}
        self._heard: dict[int, tuple[int, float]] = {}  # rank -> its last beat, and when
        self._parent = os.getppid()
        self._over = threading.Event()
        self._listening = Awake(heartbeat / 4)  # of the thread that talks with the store
        self._silent = Awake(heartbeat / 4)  # of the other: since the store has answered
        self._answered = False  # whether the store has since the judge's last look
        self._refused: Exception | None = None  # what came instead since
        here = {"machine": machine(), "host": socket.gethostname(), "process": os.getpid(),
                "since": _process(os.getpid())[1:]}  # fmt: skip
        self._machine = here["machine"]
        self._meeting.tell(f"here/{place.rank}", json.dumps(here).encode())
        self._threads = [
            threading.Thread(target=work, name=f"rank-{name}", daemon=True)
            for name, work in (("beats", self._beat), ("watch", self._judge))
        ]
        for thread in self._threads:
            thread.start()

    def know_all(self, meeting: Meeting) -> None:
        """Learn of all ranks, which are there, where they are: once the store has ended with rank
        0, nobody tells."""
        for rank in range(self.place.count):
            self._here[rank] = json.loads(meeting.get(f"here/{rank}"))

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=1)

    @property
    def store_gone(self) -> bool:
        """Whether nothing will be told or heard any more."""
        return self.orphaned or self._refused is not None

    @property
    def store_lost(self) -> bool:
        """Whether nothing can be told or heard now."""
        return self.store_gone or self._silent.seconds > GRACE

    def check(self) -> None:
        """Raise Gone where another rank has ended, or hangs."""
        if self.trouble is not None:
            self.noticed.set()
            raise self.trouble.as_error()

    def explain(self, error: Exception) -> Gone:
        """The error for one that a collective operation has raised: another rank was lost. Waits
        until it is known which."""
        self.noticed.set()
        end = time.monotonic() + self.heartbeat + 2 * TICK
        while self.trouble is None and time.monotonic() < end:
            time.sleep(0.05)
        if self.trouble is not None:
            return self.trouble.as_error()
        reason = " ".join(str(error).split())[:300]
        return Gone(f"rank {self.place.rank}: cannot reach another rank any more: {reason}")

    def is_lowest_here(self, lost: int) -> bool:
        """Whether this is the lowest of this machine's ranks, but for the `lost` one: where the
        store is gone, it speaks."""
        if not self._here:
            return not self.place.local_rank
        near = [rank for rank, here in self._here.items() if here["machine"] == self._machine]
        return self.place.rank == min({*near, self.place.rank} - {lost}, default=self.place.rank)

    # -- the threads: one talks with the store, and may be held up there; the other judges ----

    def _beat(self) -> None:
        while not self._over.wait(min(TICK, self.heartbeat / 4)):
            if os.getppid() != self._parent:  # the store was torchrun's, and is gone with it
                self.orphaned = True
            try:
                found = None if self.orphaned else self._look_at_all()
                self._answered, self._refused = True, None
                if found is not None and not self.place.rank and self.trouble is None:
                    self._meeting.add("spoken", 1)  # it will say so, after a snapshot maybe
            except Exception as error:  # of the store's connection
                found, self._refused = None, error
            self.trouble = self.trouble or found

    def _judge(self) -> None:
        since = None
        while not self._over.wait(min(TICK, self.heartbeat / 4)):
            if os.getppid() != self._parent:
                self.orphaned = True
            self.trouble = self.trouble or self._without_store() or self.overdue()
            if self.trouble is None:
                continue
            since = since or time.monotonic()
            patience = ENDING if self.noticed.is_set() else GRACE
            if time.monotonic() - since > patience:
                self._take_over(self.trouble)
                return

    def _without_store(self) -> Trouble | None:
        """What is known without the store, where that is lost."""
        if self._answered:
            self._answered = False
            self._silent.again()
        silent = self._silent.look()
        if silent < GRACE:
            return None
        if self._refused is None or self.orphaned:
            found = None if self.orphaned else self._lost_process()
            return found or (Trouble(0, self._silence(0)) if silent > self.heartbeat else None)
        reason = " ".join(str(self._refused).split())[:200]
        where = os.environ.get("MASTER_ADDR")
        return self._lost_process() or Trouble(
            0, f"its machine, {where}, cannot be reached any more: {reason}"
        )

    def _lost_process(self) -> Trouble | None:
        for rank, here in sorted(self._here.items()):
            if rank != self.place.rank and self._has_ended(here):
                return Trouble(rank, self._ended_silently(rank))
        return None

    def _look_at_all(self) -> Trouble | None:
        meeting, mine = self._meeting, self.place.rank
        self._listening.look()
        meeting.add(f"beat/{mine}", 1)
        if meeting.add("endings"):
            found = self._ended()
            if found is not None:
                return found
        # Rank 0 looks at all, the others at rank 0, which tells them: not each at each.
        for rank in range(self.place.count) if mine == 0 else (0,):
            found = None if rank == mine else self._beats(rank)
            if found is not None:
                return found
        return self._processes()

    def _ended(self) -> Trouble | None:
        for rank in range(self.place.count):
            if rank != self.place.rank and self._meeting.told(f"ended/{rank}"):
                told = json.loads(self._meeting.get(f"ended/{rank}"))
                if told["why"]:
                    of = told["of"]
                    return Trouble(of, told["why"], told["code"], told["keep"])
        return None

    def _beats(self, rank: int) -> Trouble | None:
        now, beat = self._listening.seconds, self._meeting.add(f"beat/{rank}")
        before = self._heard.setdefault(rank, (beat, now))
        if before[0] != beat:
            self._heard[rank] = beat, now
            return None
        if now - before[1] < self.heartbeat or self._done(rank):
            return None
        if self._about(rank) is None:
            return None  # one that has not come yet is waited for elsewhere
        return Trouble(rank, self._silence(rank))

    def _done(self, rank: int) -> bool:
        return self._meeting.told(f"ended/{rank}")

    def _about(self, rank: int) -> dict | None:
        if rank not in self._here and self._meeting.told(f"here/{rank}"):
            self._here[rank] = json.loads(self._meeting.get(f"here/{rank}"))
        return self._here.get(rank)

    def _where(self, rank: int) -> str:
        here = self._here.get(rank)
        return f"process {here['process']} on {here['host']}" if here else "its process"

    def _silence(self, rank: int) -> str:
        here = self._here.get(rank)
        said = f"{self._where(rank)} has not been heard of for {self.heartbeat:g} s"
        if here and here["machine"] == self._machine and _process(here["process"])[:1] in "Tt":
            return f"{said}: it is stopped (SIGSTOP?)"
        return f"{said}: it hangs, or its machine or the network does"

    def _ended_silently(self, rank: int) -> str:
        return f"{self._where(rank)} has ended without a word (killed? out of memory?)"

    def _has_ended(self, here: dict) -> bool:
        """Whether a process of this machine is gone."""
        ours = here["machine"] == self._machine
        return ours and _process(here["process"])[1:] != here["since"]

    def _processes(self) -> Trouble | None:
        """The first of this machine's ranks whose process is gone without a word."""
        for rank in range(self.place.count):
            here = self._about(rank)
            if rank == self.place.rank or here is None or not self._has_ended(here):
                continue
            if not self._done(rank):
                return Trouble(rank, self._ended_silently(rank))
            found = self._ended()
            if found is not None:
                return found
        return None
