"""How PyTorch's threads wait for each other.

They divide each layer's work, and who is ready first waits for the rest. By default of GNU's
OpenMP it does so in a loop that takes the processor, for some milliseconds, from whoever else
wants it: beside one other busy process on two processors, from the very thread that is waited
for. A short loop, and sleep after it, costs little where nobody else is at work.
"""

from __future__ import annotations

import contextlib
import os
import sys

SPINS = 2000
"""How often a waiting thread looks before it sleeps; OpenMP's default is some hundred thousand."""
_USERS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_told: dict[str, str] = {}


def _pool_may_exist() -> bool:
    """Whether PyTorch, or another library with OpenMP's threads, has been loaded: it has read the
    environment."""
    if "torch" in sys.modules:
        return True
    with contextlib.suppress(OSError), open("/proc/self/maps", errors="replace") as maps:
        return "libgomp" in maps.read()
    return False


@contextlib.contextmanager
def sleep_soon():
    """Context in which PyTorch is imported: its threads wait for each other in a loop of `SPINS`,
    then asleep. What the user's environment says goes before; it is left as it was."""
    named = [name for name in _USERS if name in os.environ]
    if named:
        _told["wait"] = f"as {named[0]}={os.environ[named[0]]} says"
    elif _pool_may_exist():
        _told["wait"] = "as OpenMP does by default: it was loaded before caffe"
    if _told:
        yield
        return
    _told["wait"] = f"asleep, after {SPINS} looks"
    os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    try:
        yield
    finally:
        os.environ.pop("GOMP_SPINCOUNT", None)


def how_they_wait() -> str:
    """In words, for `caffe.engine.report`."""
    return _told.get("wait", "as OpenMP does by default")
