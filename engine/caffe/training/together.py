"""The processes of one torchrun at one piece of work: a training, or the images of a split.

    ranks = caffe.engine.join_ranks()      # in each process that torchrun has started
    solver = caffe.get_solver(path)
    ranks.tie(solver)                      # one net, one order of the data, the gradients' mean
    solver.step(n)
    ranks.leave()                          # or ranks.fail(why), by which the others end too

A training has the numbers of one process whose iter_size is that many times as large, but for
rounding. `rank_watch` sees to it that no rank waits for one that is gone.
"""

from __future__ import annotations

import json
import os
import sys
import time

import torch

from .. import log, ranks as _ranks
from ..compute import device as _device
from ..errors import InputError
from ..settings import gradients as chosen_gradients
from . import agreement
from .meeting import JOINING, Gone, Meeting, Place, toward_first
from .nccl import PATIENCE
from .rank_watch import Trouble, Watch, machine
from .reduction import traffic
from .tie import Tie

HEARTBEAT = 60.0
"""Seconds without a heartbeat after which a rank counts as gone."""
LAST_WORDS = 10.0
"""Seconds that a failed rank waits for rank 0 to know why, and to say so."""
HEARING = 2.0
"""Seconds that rank 0, which has failed, waits for the others to have heard of it."""
LEAVING = 10.0
"""Seconds that rank 0, whose work is done, waits for the others to know."""
STOPPING = 20.0
"""Seconds after a request to stop at which a rank ends within its iteration: torchrun kills its
processes 30 s after it was told to stop."""
SNAPSHOT = 120.0
"""Seconds that a snapshot by the watch's thread may take: a GPU that waits for another never gives
its weights."""


class Ranks:
    """This process among those of a torchrun. `rank` of `count`, `local_rank` of `local_count` on
    this machine; `first`: whether it is the one that speaks and writes."""

    ORPHANED = 256
    """What `stopped` is where what had started the processes of a machine is gone: above the number
    of any signal, so that all ranks hear of it."""

    def __init__(self, version: str, heartbeat: float = HEARTBEAT):
        if not heartbeat > 0:
            raise InputError(f"a heartbeat of {heartbeat:g} s: give seconds above 0")
        place = Place()
        self._version = version
        self.rank, self.count = place.rank, place.count
        self.local_rank, self.local_count = place.local_rank, place.local_count
        self.first = not place.rank
        self.stopped = 0
        """What the ranks have agreed to stop for: the largest of their wishes."""
        self._meeting = Meeting(place)
        self._tie: Tie | None = None
        self._wish = lambda: 0
        self._asked: float | None = None
        self._gathered = 0
        _ranks.set_solver_count(place.count)
        _ranks.set_solver_rank(place.rank)
        _ranks.set_multiprocess(True)
        if place.rank:
            log.set_min_level(log.ERROR)
        self._watch = Watch(place, self._meeting.attempt, heartbeat, self._take_over)
        self._watch.overdue = self._overdue

    # -- a training -----------------------------------------------------------------------

    def tie(self, solver, wish=lambda: 0) -> None:
        """Make `solver` one of all ranks': with rank 0's parameters, history, iteration and place
        in the data.

        `wish()` is asked before each iteration; where it is not 0 in some rank, all stop there, and
        `stopped` is the largest. InputError where a rank's net, data, solver or version is not that
        of rank 0; Gone where another rank is gone, here and in each `step` from now on.
        """
        gradients = chosen_gradients()
        self._wish = wish
        self._agree_on(agreement.facts(solver, self._version, gradients))
        self._tie = Tie(self, solver, gradients)
        self._open_groups()
        self._watch.know_all(self._meeting)
        self._tie.share()
        if self.first:
            self._announce(solver, gradients)

    def _agree_on(self, mine: dict) -> None:
        if self.first:
            self._meeting.tell("facts", json.dumps(mine).encode())
            for rank in range(1, self.count):
                self._meeting.hear(f"agrees/{rank}", self.check)
            return
        first = json.loads(self._meeting.hear("facts", self.check))
        found = agreement.difference(mine, first)
        if found:
            raise InputError(found)
        self._meeting.tell(f"agrees/{self.rank}", b"yes")

    def _open_groups(self) -> None:
        """torch.distributed's: of the devices for the gradients, and Gloo's for a stop."""
        from torch import distributed

        nccl = _device.current().type == "cuda" and not self._share_a_gpu()
        interface = None if "GLOO_SOCKET_IFNAME" in os.environ else toward_first()
        if interface:
            os.environ["GLOO_SOCKET_IFNAME"] = interface
        try:
            distributed.init_process_group(
                "nccl" if nccl else "gloo", store=self._meeting.part("groups"),
                rank=self.rank, world_size=self.count, timeout=JOINING,
            )  # fmt: skip
            self._gradients = distributed.new_group(timeout=PATIENCE)
            self._words = distributed.new_group(backend="gloo", timeout=PATIENCE)
        except RuntimeError as error:
            raise self._watch.explain(error) from None

    def _share_a_gpu(self) -> bool:
        """Whether two ranks compute on one GPU, which NCCL refuses; Gloo adds by the host."""
        self._meeting.tell(f"gpu/{self.rank}", f"{machine()} {_device.identity()}".encode())
        gpus = {self._meeting.hear(f"gpu/{rank}", self.check) for rank in range(self.count)}
        return len(gpus) < self.count

    def _close_groups(self) -> None:
        """Where they are open as Python ends, their threads may abort it."""
        from torch import distributed

        if self._tie is not None and distributed.is_initialized():
            distributed.destroy_process_group()

    def _announce(self, solver, gradients: str) -> None:
        size, messages = traffic(solver.net, gradients)
        times = solver.param.iter_size or 1
        each = f" and {times} passes" if times > 1 else ""
        log.log(
            f"{self.count} processes: an iteration learns from {self.count} times the batch of the "
            f"net{each}, as one process with iter_size {self.count * times} does"
        )
        log.log(
            "The gradient is the mean over them, so that base_lr stays what it is for one; as many "
            f"iterations see {self.count} times as many images"
        )
        parts = "1 part" if messages == 1 else f"{messages} parts"
        log.log(f"Each iteration reduces {size / 2**20:.6g} MiB of gradients in {parts}")

    def start_sum(self, tensor: torch.Tensor):
        """Begin to sum a tensor over all ranks, in place; returns what has wait() and
        is_completed()."""
        return _Work(self, tensor, self._gradients)

    def send(self, tensor: torch.Tensor) -> None:
        """Rank 0's content of a tensor, in all ranks."""
        from torch import distributed

        self._guarded(distributed.broadcast, tensor, src=0, group=self._gradients)

    def first_text(self, content: str) -> str:
        """Rank 0's text, in all ranks."""
        if self.first:
            self._meeting.tell("state", content.encode())
            return content
        return self._meeting.hear("state", self.check).decode()

    def agreed_stop(self) -> bool:
        """Whether a rank wishes to stop. All ranks ask at the same time, and hear the same."""
        from torch import distributed

        wish = torch.tensor([self._own_wish()])
        self._guarded(distributed.all_reduce, wish, distributed.ReduceOp.MAX, group=self._words)
        self.stopped = int(wish)
        return bool(self.stopped)

    def _own_wish(self) -> int:
        return int(self._wish()) or (self.ORPHANED if self._watch.orphaned else 0)

    def _guarded(self, operation, *args, **more):
        try:
            return operation(*args, **more)
        except RuntimeError as error:
            raise self._watch.explain(error) from None

    # -- work that is split ---------------------------------------------------------------

    def gather(self, content: bytes) -> list[bytes]:
        """In rank 0 what each rank gives, in their order; in the others []. All ranks do it as
        often as one another."""
        self._gathered += 1
        self._meeting.tell(f"part/{self._gathered}/{self.rank}", content)
        if not self.first:
            return []
        names = [f"part/{self._gathered}/{rank}" for rank in range(self.count)]
        return [self._meeting.hear(name, self.check) for name in names]

    def check(self) -> None:
        """Raise Gone where another rank has ended, or hangs."""
        self._watch.check()

    # -- the end --------------------------------------------------------------------------

    def note_error(self) -> None:
        """The main thread has an error in hand, and will end this rank itself."""
        self._watch.noticed.set()

    def leave(self) -> None:
        """This rank's work is done. The others wait for rank 0, which may still write."""
        self._watch.noticed.set()
        try:
            if self._watch.store_gone:
                return
            self._tell_end("")
            self._meeting.add("left", 1)
            if self.first:
                end = time.monotonic() + LEAVING
                while self._meeting.add("left") < self.count and time.monotonic() < end:
                    time.sleep(0.02)
            else:
                self._meeting.hear("ended/0", self.check)
        except (RuntimeError, OSError):
            pass  # the store has ended with those who kept it
        finally:
            self._part()
            self._close_groups()

    def fail(self, why: str, code: int = 1, keep: bool = True, cause: Exception | None = None):
        """This rank ends by an error, `why` in a line, with that exit code: the others end too.
        `keep`: whether what was learned until then is worth a snapshot. `cause`: the error itself,
        Gone where another rank is to blame.

        Returns whether this rank is the one to say so: rank 0, or where that does not."""
        self._watch.noticed.set()
        of, trouble = self.rank, self._watch.trouble
        known = isinstance(cause, Gone) or isinstance(getattr(cause, "__cause__", None), Gone)
        if known and trouble is not None:
            of, why = trouble.rank, trouble.why
        speaks = self._tell_failure(why, code, keep, of)
        self._part()
        return speaks

    def _tell_failure(self, why: str, code: int, keep: bool, of: int) -> bool:
        if self._watch.store_lost:
            return self._watch.is_lowest_here(of)
        try:
            if self.first:
                self._meeting.add("spoken", 1)
                self._tell_end(why, code, keep, of)
                end = time.monotonic() + HEARING  # the store may end with this process
                while self._meeting.add("heard") < self.count - 1 and time.monotonic() < end:
                    time.sleep(0.02)
                return True
            self._tell_end(why, code, keep, of)
            end = time.monotonic() + LAST_WORDS
            while time.monotonic() < end:
                if self._meeting.add("spoken"):
                    self._meeting.add("heard", 1)
                    return False
                if not of:
                    break  # rank 0 is lost itself, and will not
                time.sleep(0.05)
            return self._meeting.add("spoken", 1) == 1
        except (RuntimeError, OSError):  # the store is gone: one of each machine says so
            return self._watch.is_lowest_here(of)

    def _tell_end(self, why: str, code: int = 0, keep: bool = True, of: int = 0) -> None:
        told = {"why": why, "code": code, "keep": keep, "of": of}
        self._meeting.tell(f"ended/{self.rank}", json.dumps(told).encode())
        if why:
            self._meeting.add("endings", 1)

    def _part(self) -> None:
        self._watch.close()
        _ranks.set_solver_count(1)
        _ranks.set_solver_rank(0)
        _ranks.set_multiprocess(False)

    # -- in the watch's thread ------------------------------------------------------------

    def _overdue(self) -> Trouble | None:
        wish = self._own_wish()
        if not wish:
            return None
        now = time.monotonic()
        self._asked = self._asked or now
        if now - self._asked < STOPPING or "TORCHELASTIC_RUN_ID" not in os.environ:
            return None
        return Trouble(
            self.rank,
            "was told to stop, and its iteration, test or scoring did not end within "
            f"{STOPPING:g} s",
        )

    def _take_over(self, trouble: Trouble) -> None:
        """End this process: its main thread waits for what will never come, or has not noticed."""
        said = f"error: rank {trouble.rank}: {trouble.why}"
        if self.first and self._tie is not None:
            said += self._tie.last_snapshot(trouble.keep, SNAPSHOT)
        if not self.first and trouble.rank:
            self._await_first()
        if self._tell_failure(trouble.why, trouble.code, trouble.keep, trouble.rank):
            # Of the others the output is none; rank 0's log may have gone elsewhere.
            print(said, file=sys.stderr if self.first else sys.__stderr__, flush=True)
        os._exit(trouble.code)

    def _await_first(self) -> None:
        """Until rank 0 has ended, which may be writing a snapshot."""
        end = time.monotonic() + SNAPSHOT
        try:
            while time.monotonic() < end and not self._watch.store_lost:
                if self._meeting.told("ended/0"):
                    return
                time.sleep(0.1)
        except (RuntimeError, OSError):
            pass


class _Work:
    """A sum that is on its way."""

    def __init__(self, ranks: Ranks, tensor: torch.Tensor, group):
        from torch import distributed

        self._ranks = ranks
        self._work = ranks._guarded(distributed.all_reduce, tensor, group=group, async_op=True)

    def wait(self) -> None:
        self._ranks._guarded(self._work.wait)

    def is_completed(self) -> bool:
        return self._work.is_completed()
