"""How many solvers train together, and which of them this process is: pycaffe's names.

Data layers of a TRAIN net take every `solver_count`-th item, from `solver_rank` on. They look
once, when they are made.
"""

from __future__ import annotations

_state = {"count": 1, "rank": 0, "multiprocess": False}


def solver_count() -> int:
    return _state["count"]


def solver_rank() -> int:
    return _state["rank"]


def set_solver_count(count: int) -> None:
    if int(count) < 1:
        raise ValueError(f"{count} solvers cannot train together; at least 1")
    _state["count"] = int(count)


def set_solver_rank(rank: int) -> None:
    if int(rank) < 0:
        raise ValueError(f"a solver's rank counts from 0; {rank} is none")
    _state["rank"] = int(rank)


def set_multiprocess(multiprocess: bool) -> None:
    """Say whether the solvers are processes, not threads; nothing here depends on it."""
    _state["multiprocess"] = bool(multiprocess)
