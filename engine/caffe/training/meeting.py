"""Where the processes of one training find each other: the store that torchrun gives them.

Each has a rank, from 0 on. What is told there are short texts and counters, besides the gradients:
who is alive, who has ended and why, what a rank has found.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
import struct
import time
import uuid
from datetime import timedelta

from ..errors import Error, InputError

JOINING = timedelta(minutes=5)
"""How long a rank waits for the others to be there."""
STORE = timedelta(seconds=20)
"""How long it tries to reach the store of a torchrun, which is there before the ranks are."""
PARENT = os.getppid()
_LOOK = 0.02  # seconds between two looks for what another rank is to tell


class Gone(Error):
    """Another rank has ended, hangs or cannot be reached: the words name it and say why."""

    def __init__(self, message: str, code: int = 1, keep: bool = True):
        super().__init__(message)
        self.exit_code = code
        self.keep = keep
        """Whether what was learned until then is worth a snapshot: not where a loss was no
        number."""


def _number(name: str, default: str | None = None) -> int:
    value = os.environ.get(name, default)
    if value is None:
        raise InputError(f"{name} is not set: start several processes by torchrun, which sets it")
    if not value.isdigit():
        raise InputError(f"{name} is '{value}', not a whole number; start by torchrun")
    return int(value)


class Place:
    """Which of the processes this one is, as torchrun's variables say."""

    def __init__(self):
        self.count, self.rank = _number("WORLD_SIZE"), _number("RANK")
        self.local_rank = _number("LOCAL_RANK", "0")
        self.local_count = _number("LOCAL_WORLD_SIZE", "1")
        if self.rank >= self.count:
            raise InputError(f"RANK is {self.rank} of {self.count} processes; they count from 0")
        if "MASTER_ADDR" not in os.environ or not _number("MASTER_PORT"):
            raise InputError("MASTER_ADDR and MASTER_PORT are not set; start by torchrun")


class Meeting:
    """One connection to the store. Each thread needs its own: a wait in one holds up all others of
    the connection.

    torchrun's store outlives its processes where it starts them again, so all names in it begin
    with the `attempt`; without one, the first rank makes it and the others hear it from that."""

    def __init__(self, place: Place, attempt: str | None = None):
        from torch import distributed

        if not distributed.is_available():
            raise InputError("this PyTorch was built without torch.distributed: one process only")
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        try:
            _await_store(place)
            found = distributed.rendezvous("env://", place.rank, place.count, timeout=JOINING)
            store = next(iter(found))[0]
        except (RuntimeError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise Error(f"rank {place.rank}: {where} cannot be reached: {reason}") from None
        self.store = store
        self.attempt = attempt or self._new_attempt(place)

    def _new_attempt(self, place: Place) -> str:
        """A name that all ranks have heard, and that none had before. What an earlier attempt has
        left in the store is told from it by the echo of a token: its first rank gives none."""
        end = time.monotonic() + JOINING.total_seconds()
        token = uuid.uuid4().hex
        if not place.rank:
            self.store.set("caffe/attempt", token)
            for rank in range(1, place.count):
                self._wait([f"caffe/{token}/knock/{rank}"], rank, end)
                heard = self.store.get(f"caffe/{token}/knock/{rank}")
                self.store.set(f"caffe/{token}/welcome/{rank}", heard)
            return token
        while True:
            self._wait(["caffe/attempt"], 0, end)
            attempt = self.store.get("caffe/attempt").decode()
            self.store.set(f"caffe/{attempt}/knock/{place.rank}", token)
            welcome = f"caffe/{attempt}/welcome/{place.rank}"
            if self.store.check([welcome]) and self.store.get(welcome).decode() == token:
                return attempt
            self._wait([], 0, end)

    def _wait(self, names: list[str], rank: int, end: float) -> None:
        """Until `rank` has told what has these names; for a moment where there are none."""
        late = f"rank {rank}: has not come (did it fail as it started?)"
        try:
            while True:
                time.sleep(_LOOK)
                if time.monotonic() > end:
                    raise Gone(f"{late}: waited for {JOINING.total_seconds():g} s")
                if not names or self.store.check(names):
                    return
        except Exception as error:  # a signal's too: torchrun stops all where one has ended
            if isinstance(error, Gone):
                raise
            raise Gone(late, getattr(error, "exit_code", 1)) from None

    def part(self, name: str):
        """The store for something else: its names there are apart."""
        from torch import distributed

        return distributed.PrefixStore(f"caffe/{self.attempt}/{name}", self.store)

    def tell(self, name: str, content: bytes) -> None:
        """Let every rank hear `content`, once."""
        self.store.set(f"caffe/{self.attempt}/{name}", content)

    def told(self, name: str) -> bool:
        return self.store.check([f"caffe/{self.attempt}/{name}"])

    def get(self, name: str) -> bytes:
        """What was `told`."""
        return self.store.get(f"caffe/{self.attempt}/{name}")

    def hear(self, name: str, watch) -> bytes:
        """What another rank tells, when it does; `watch()` raises where that will never be."""
        while not self.told(name):
            watch()
            time.sleep(_LOOK)
        return self.get(name)

    def add(self, name: str, number: int = 0) -> int:
        """Add to a counter, which begins at 0; returns what it is then."""
        return self.store.add(f"caffe/{self.attempt}/{name}", number)


def _await_store(place: Place) -> None:
    """Until the store can be reached; OSError where it cannot, or what had started this process is
    gone. (PyTorch itself would try for all the time that a rank may be late.)"""
    of_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if not (of_torchrun or place.rank):
        return  # this rank opens it
    end = time.monotonic() + (STORE if of_torchrun else JOINING).total_seconds()
    while True:
        try:
            address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            socket.create_connection(address, timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end or os.getppid() != PARENT:
                raise OSError(f"{error} (has torchrun ended?)") from None
        time.sleep(5 * _LOOK)


def toward_first() -> str | None:
    """The name of the network interface toward the machine of rank 0, which Gloo is to use: by
    itself it takes the one of this machine's own name, which is often the loopback's. None where it
    is not found."""
    try:
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        kind, _, _, _, address = socket.getaddrinfo(host, port, socket.AF_INET, 0)[0]
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            probe.connect(address)  # sends nothing
            mine = probe.getsockname()[0]
            if ipaddress.ip_address(mine).is_loopback:
                return None
            for _, name in socket.if_nameindex():
                if _address(probe, name) == mine:
                    return name
    except (OSError, KeyError, ValueError, IndexError):
        pass
    return None


_GET_ADDRESS = 0x8915  # Linux's SIOCGIFADDR


def _address(probe: socket.socket, name: str) -> str | None:
    request = struct.pack("256s", name.encode()[:15])
    try:
        return socket.inet_ntoa(fcntl.ioctl(probe.fileno(), _GET_ADDRESS, request)[20:24])
    except OSError:  # the interface has no address
        return None
