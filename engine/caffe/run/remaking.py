"""Which blobs of a lean net to make again in the backward pass, so that a training takes less
memory: those that save the most where too much is in use, for the least arithmetic."""

from __future__ import annotations

import math

from ..core.layer import Reads
from . import plan_table
from .releases import why_not_again


class Remaking:
    """What is known of a training net without anything made again.

    `taken` has the most bytes at each layer's pass, (0, layer's number, way) -> bytes, as a
    rehearsal found them. What a table of the plan leaves out of them is taken to be there with
    others made again too.
    """

    def __init__(self, net, taken: dict):
        self._rest: dict = {}
        for place, count in self._table(net).items():
            self._rest[place] = max(0, taken.get((0, *place), 0) - count)

    @staticmethod
    def _table(net) -> dict:
        found = {}
        for k, row in enumerate(plan_table.plan(net).rows):
            found[k, "forward"] = row.forward_bytes
            if row.backward_bytes is not None:
                found[k, "backward"] = row.backward_bytes
        return found

    def _profile(self, net, names) -> list[int]:
        """The bytes at each pass with these blobs made again."""
        net._plan.remake(names)
        return [n + self._rest.get(place, 0) for place, n in self._table(net).items()]

    def choose(self, net, limit: int | None) -> tuple[str, ...]:
        """Names of blobs with which at most `limit` bytes are in use, as far as can be reckoned;
        None, or where there are no such: with which the fewest are. `net` is left without."""
        costs = {name: _cost(net, name) for name in _candidates(net)}
        lowest, least = self._greedy(net, costs, 0)
        if limit is None or least > limit:
            limit = least
        names, _ = self._greedy(net, costs, limit)
        names = self._without_idle(net, names, costs, limit) or lowest
        net._plan.remake(())
        return tuple(name for name in costs if name in names)

    def _greedy(self, net, costs: dict[str, int], limit: int) -> tuple[list[str], int]:
        """The names, and the most bytes, after which nothing more helps, or nothing need."""
        chosen: list[str] = []
        best: tuple[list[str], int] = ([], max(self._profile(net, chosen)))
        over = _over(self._profile(net, chosen), limit)
        while over:
            found = []
            for name in costs.keys() - chosen:
                profile = self._profile(net, [*chosen, name])
                gain = over - _over(profile, limit)
                if gain > 0:
                    found.append((gain / costs[name], name, profile))
            if not found:
                break
            _, name, profile = max(found)
            chosen.append(name)
            over = _over(profile, limit)
            if max(profile) < best[1]:
                best = list(chosen), max(profile)
        return best

    def _without_idle(self, net, names, costs, limit: int) -> list[str]:
        """`names` without those that are not needed, the dearest first."""
        for name in sorted(names, key=lambda name: -costs[name]):
            fewer = [other for other in names if other != name]
            if max(self._profile(net, fewer)) <= limit:
                names = fewer
        return names


def _over(profile: list[int], limit: int) -> int:
    """By how much the passes are above the limit, together."""
    return sum(max(0, count - limit) for count in profile)


def _candidates(net) -> list[str]:
    """Blobs that backward reads and that can be made again, one of those that share memory."""
    seen: set[int] = set()
    names = []
    read = _read_in_backward(net)
    for name, blob in net.blobs.items():
        memory = id(blob._data)
        if memory in seen or memory not in read:
            continue
        seen.add(memory)
        if why_not_again(net._wiring, blob) is None:
            names.append(name)
    return names


def _read_in_backward(net) -> set[int]:
    """The memories of the blobs that a backward pass reads."""
    found: set[int] = set()
    for step in net._plan.steps:
        if not step.has_backward:
            continue
        reads = step.layer._backward_reads
        blobs = list(step.bottoms[:1]) if Reads.BOTTOM in reads else []
        blobs += step.bottoms[1:] if Reads.FURTHER in reads else []
        blobs += step.tops if Reads.TOPS in reads or step.layer._masks else []
        found.update(id(blob._data) for blob in blobs)
    return found


def _cost(net, name: str) -> int:
    """About how many operations it takes to make a blob again."""
    memory, cost = net.blobs[name]._data, 1
    for step in net._plan.steps:
        for top in step.tops:
            if top._data is memory:
                weights = step.layer.blobs[0].shape if step.layer.blobs else ()
                cost += top.count * max(1, math.prod(weights[1:]))
    return cost
