"""What the layers that read data have in common: a source of batches, read ahead of the net.

A source is an object that knows nothing of its layer (the reading thread must not keep a dropped
net alive) and has

* `shapes`: the tops' shapes as long as nothing has been read,
* `start`: the state of the beginning, a dict for JSON,
* `contents`: of what the items are known by, for the solvers of several processes, which have to
  read the same; paths may differ between their machines,
* `batches(state)`: a generator, without end, of (float32 arrays for the tops, the state after).

Whatever is random comes from a seed that the engine's generator gives when the layer is made, and
from the number of the item: a state is a few numbers, and training that is resumed goes on with
the items, crops and mirrorings that it would have had.
"""

from __future__ import annotations

import math
import os
import zlib

import numpy as np

from ..compute import rng
from ..core.layer import TRAIN, Layer
from ..errors import InputError
from ..ranks import solver_count, solver_rank
from ..reading.read_ahead import ReadAhead

ORDER, ITEM = 0, 1  # what a random number is for


def failing(layer: Layer):
    """`layer.fail` without the layer."""
    head = str(layer.fail(""))
    return lambda message: InputError(f"{head}{message}")


def randomness(seed: int, what: int, number: int) -> np.random.Generator:
    """The random numbers of item (or of the order of epoch) `number`."""
    return np.random.Generator(np.random.PCG64((seed, what, number)))


class Order:
    """Items 0 to `count` - 1, round and round, from item `skip` on, each round shuffled anew if
    `shuffled`."""

    def __init__(self, count: int, skip: int, shuffled: bool):
        self.count, self.skip, self.shuffled = count, skip, shuffled
        self._epoch = -1  # the round that `_places` is of
        self._places = np.arange(0)

    def __call__(self, number: int, seed: int) -> int:
        epoch, place = divmod(self.skip + number, self.count)
        if not self.shuffled:
            return place
        if epoch != self._epoch:
            self._places = randomness(seed, ORDER, epoch).permutation(self.count)
            self._epoch = epoch
        return int(self._places[place])


def draw_skip(rand_skip: int) -> int:
    """How many items to leave out first: a random number below `rand_skip`."""
    return rng.draw_seed() % rand_skip if rand_skip else 0


def whole(value) -> int:
    """A whole number from 0 on out of a stored state; ValueError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is no position")
    return value


def require_positive_batch(layer: Layer, batch_size: int) -> int:
    if batch_size < 1:
        raise layer.fail("batch_size is not given; how many items has a batch?")
    return batch_size


def warn_of(layer: Layer, param, names, remedy: str) -> None:
    """A warning that tells the `remedy` for each of these fields of `param` that is not at its
    default: it has no effect."""
    for name in names:
        if getattr(param, name) != param.DESCRIPTOR.fields_by_name[name].default_value:
            layer.warn(f"{param.DESCRIPTOR.name}.{name} has no effect{remedy}")


def warn_of_old_transform(layer: Layer, param, names=("scale", "mean_file", "crop_size", "mirror")):
    """Only V1 layers hold these themselves; Caffe 1.0 leaves them out of account elsewhere."""
    warn_of(layer, param, names, " in Caffe 1.0; write it in transform_param")


def turn(layer: Layer) -> tuple[int, int]:
    """(n, r): the layer takes items r, r + n, r + 2n, ... In TRAIN n is the number of solvers and
    r this one's rank; a TEST net has all items."""
    count = solver_count() if layer.phase == TRAIN else 1
    return count, solver_rank() % count


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class Prefetching(Layer):
    """A data layer that reads ahead as many batches as `data_param.prefetch` says.

    A subclass makes the source: `open_source(top)`. The thread starts with the first forward: a
    net that is only looked at reads one item.
    """

    num_bottom = (0, 0)
    num_top: tuple[int, int | None] = (2, 2)

    def setup(self, bottom, top):
        self._depth = self.layer_param.data_param.prefetch
        if self._depth < 1:
            raise self.fail("data_param.prefetch is 0; at least 1 batch has to be read")
        self._ahead = None
        self.source = self.open_source(top)
        self._state = self.source.start
        for blob, shape in zip(top, self.source.shapes):
            blob.reshape(*shape)
        self.check_memory(sum(math.prod(shape) for shape in self.source.shapes) * 4)

    def open_source(self, top):
        raise NotImplementedError

    @property
    def fingerprint(self) -> int:
        """A number for the items and their order in the source."""
        return zlib.crc32(repr(self.source.contents).encode())

    def check_memory(self, batch: int) -> None:
        """Batches of so many bytes can be read ahead on this machine, or an error."""
        has = machine_memory()
        if batch * (self._depth + 2) > has:
            raise self.fail(
                f"{self._depth + 2} batches of {batch / 2**30:.1f} GiB (data_param.prefetch is "
                f"{self._depth}) do not fit into this machine's {has / 2**30:.1f} GiB"
            )

    def forward(self, bottom, top):
        if self._ahead is None:
            self._ahead = ReadAhead(self.source.batches(dict(self._state)), self._depth)
        tensors, self._state = self._ahead.next()
        for blob, tensor in zip(top, tensors):
            blob.reshape(*tensor.shape)
            blob.overwrite().copy_(tensor, non_blocking=True)

    def state(self) -> dict:
        """Where the next batch begins, for JSON."""
        return dict(self._state)

    def restore_state(self, state: dict) -> None:
        """Go on where `state()` was taken. ValueError or KeyError for what is no state."""
        state = {name: whole(state[name]) for name in self.source.start}
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None
        self._state = state


def stack(shape: tuple[int, ...], items: int) -> np.ndarray:
    """Room for a batch."""
    return np.empty((items, *shape), np.float32)


def same_sizes(fail, first: tuple, other: tuple, what: str) -> None:
    """Items of one batch come out in one shape."""
    if first != other:
        raise fail(
            f"{what} is {other[1]} × {other[2]} with {other[0]} channels, the first of its batch "
            f"{first[1]} × {first[2]} with {first[0]}; only batches of 1 may change size"
        )
