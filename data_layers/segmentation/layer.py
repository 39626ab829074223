"""What all segmentation data layers share: photographs and their label maps, one per forward or a
batch of them.

A data set's layer class says which parameters it takes (`schema`), which tops it has, and how one
id becomes arrays (`open_source`). This module orders the ids, reads ahead, checks, shrinks,
augments, subtracts means, fills the tops, and saves and restores the position.

Parameters every layer takes:
  split      the split's name
  randomize  default True: draw ids at random (with replacement) if the split's name holds
             'train'; other splits always come in order
  seed       of the random order; None, the default, is another order at every start
  prefetch   forwards whose items a background thread reads ahead; default 2, 0 reads when needed
  shrink     whole factor, default 1: images are box-averaged and labels taken nearest
and those of `augment`: mirror, scale, crop, jitter, batch.

If several solvers train together (`caffe.solver_count()`), they share one order: solver r of n
takes the forwards r, r + n, r + 2n, ... of one that is alone, with the same items in each.
"""

from __future__ import annotations

import random
import zlib
from collections import namedtuple

import numpy as np

import caffe
from segmentation import augment
from segmentation.labels import VOID, check_labels, check_sizes
from segmentation.lists import fault
from segmentation.order import Ahead, Ended, Order
from segmentation.params import REQUIRED, DataError, boolean, integer, parse, seed, string
from segmentation.pictures import orientation

COMMON = {
    "split": (string, REQUIRED),
    "randomize": (boolean, True),
    "seed": (seed, None),
    "prefetch": (integer(0, 64), 2),
    "shrink": (integer(1, 64), 1),
    **augment.SCHEMA,
}

MANNER = (
    "classes", "shrink", "mean", "channels", "pixel_scale", "colours", "names", "other",
    "unlabelled", "crowd", "overlap", *augment.SCHEMA,
)  # fmt: skip
"""The parameters that say what becomes of an item, besides the tops."""

Source = namedtuple("Source", "ids where find read label", defaults=(None,))
Source.__doc__ = """One split of a data set.

ids    the ids in file order
where  the split file, for messages
find   find(id) -> {top: path}; raises DataError if a file is missing
read   read(paths) -> {top: H x W x C or H x W array} in the blob's channel order, means not yet
       subtracted
label  label(paths) -> the label alone, H x W uint8, where that is less work; or None
"""


def locate(source, name):
    """{top: path} of an id of a Source. Raises DataError, which speaks of the list where the id's
    own form is why a file is missing."""
    try:
        return source.find(name)
    except DataError as error:
        reason = fault(name)
        raise DataError(f"{source.where}: {reason}") if reason else error from None


class SegmentationLayer(caffe.Layer):
    """Base of the data layers. A subclass sets `schema`, `open_source`, and `means`."""

    schema = COMMON
    photographs = ("data",)
    """The tops that hold B, G, R, whose colours may be jittered."""

    @classmethod
    def open_source(cls, params):
        """Source for `params`. Raises DataError."""
        raise NotImplementedError

    @classmethod
    def top_names(cls, params):
        """What each top carries; the name 'label' is checked and kept as class numbers."""
        return ("data", "label")

    @classmethod
    def means(cls, params):
        """{top: one number per channel}, subtracted from that top."""
        return {"data": params["mean"]}

    @classmethod
    def parse(cls, params):
        """A param_str or a dict of parameters, checked and with defaults. Raises DataError."""
        return parse(params, cls.__name__, cls.schema)

    @classmethod
    def class_count(cls, params):
        """How many classes labels may hold, void not counted; None where the layer sets no bound.

        `params` as for `parse`. Raises DataError.
        """
        return cls.parse(params).get("classes")

    @classmethod
    def ids(cls, params):
        """The ids of the split, in file order, with no net built."""
        return list(cls.open_source(cls.parse(params)).ids)

    @classmethod
    def check(cls, params):
        """Raise DataError at the first file of the split that is missing."""
        source = cls.open_source(cls.parse(params))
        missing = []
        for name in source.ids:
            try:
                locate(source, name)
            except DataError as error:
                missing.append(str(error))
        if missing:
            more = f" (and {len(missing) - 1} more of {source.where})" if len(missing) > 1 else ""
            raise DataError(missing[0] + more)

    @classmethod
    def read_item(cls, params, source, name):
        """{top: array} of the id `name` of a Source, as its files hold them, checked.

        params: as `parse` returns them. Raises DataError.
        """
        paths = locate(source, name)
        arrays = source.read(paths)
        check_sizes({paths[top]: arrays[top] for top in cls.top_names(params)}, orientation)
        if "label" in arrays:
            check_labels(paths["label"], arrays["label"], params.get("classes", VOID))
        return arrays

    @classmethod
    def tops_of(cls, params, arrays, drawn=augment.AS_IT_IS):
        """What the tops hold of such arrays, a tuple of float32 arrays 1 x C x h x w."""
        means, shrink, photographs = cls.means(params), params["shrink"], cls.photographs
        return tuple(
            to_blob(arrays[top], means.get(top), shrink, drawn, top in photographs)
            for top in cls.top_names(params)
        )

    @classmethod
    def loader(cls, params, source, seed):
        """load(k) -> (id, top arrays) of the k-th item of a Source: what training gets.

        params: as `parse` returns them; seed: in place of theirs, which may be None.
        """
        training = "train" in params["split"]
        order = Order(len(source.ids), params["randomize"] and training, seed)

        def load(k):
            name = source.ids[order(k)]
            drawn = augment.draw(params, seed, k) if training else augment.AS_IT_IS
            return name, cls.tops_of(params, cls.read_item(params, source, name), drawn)

        return load

    def setup(self, bottom, top):
        params = self.parse(self.param_str)
        name = type(self).__name__
        tops = self.top_names(params)
        if len(bottom) != 0:
            raise DataError(f"{name}: takes no bottoms, but the net gives it {len(bottom)}")
        if len(top) != len(tops):
            raise DataError(
                f"{name}: has {len(top)} tops, but needs {len(tops)}: {', '.join(tops)}"
            )
        self.source = self.open_source(params)
        # Once: a training asks for its position in every iteration.
        self.fingerprint = _fingerprint(self.source.ids)
        # Of several solvers all make the same of an item, from whatever folder.
        self.manner = {key: params[key] for key in MANNER if key in params}
        self.randomize = params["randomize"] and "train" in params["split"]
        self.seed = params["seed"]
        if self.seed is None:
            # Drawn here, so that state() can name it and a resumed run repeats it.
            self.seed = random.SystemRandom().getrandbits(32)
        self.params, self.item, self.ahead = params, None, None
        self.batch = params["batch"] if "train" in params["split"] else 1
        self.step, self.turn = 1, 0  # how many solvers share the order, and which is this one's
        if getattr(self, "phase", caffe.TEST) == caffe.TRAIN:
            self.step, self.turn = _group("solver_count", 1), _group("solver_rank", 0)
        self.position = self.turn * self.batch
        self.load = self._loader()

    def _loader(self):
        """A new `loader`: the thread that reads ahead has one to itself, and not the layer."""
        return self.loader(self.params, self.source, self.seed)

    def reshape(self, bottom, top):
        # Caffe calls reshape before every forward, and at other times too: an item stays until a
        # forward has consumed it.
        if self.item is None:
            self.item = self._next_batch()
        for i, array in enumerate(self.item):  # pycaffe's blob lists are indexed, not iterated
            top[i].reshape(*array.shape)

    def _next_batch(self):
        """The top arrays of the items of one forward."""
        items = [self._item(self.position + i) for i in range(self.batch)]
        (first, tops), *others = items
        for name, arrays in others:
            if any(a.shape != b.shape for a, b in zip(tops, arrays)):
                sizes = [" x ".join(map(str, one[0].shape[2:])) for one in (tops, arrays)]
                raise DataError(
                    f"{self.source.where}: {first} is {sizes[0]} and {name} {sizes[1]}, but a "
                    "batch needs one size: give 'crop' too, or batch 1"
                )
        if not others:
            return tops
        return tuple(map(np.concatenate, zip(*(arrays for _, arrays in items))))

    def _item(self, k):
        if self.ahead is not None and self.ahead.next == k and self.ahead.alive():
            try:
                return self.ahead.take()
            except Ended:
                pass
            except BaseException:
                self._drop_ahead()  # what it held is read again: nothing is skipped
                raise
        self._drop_ahead()
        return self.load(k)

    def _drop_ahead(self):
        if self.ahead is not None:
            self.ahead.stop()
            self.ahead = None
            self.load = self._loader()  # the old one may still be at work in the thread

    def forward(self, bottom, top):
        if self.item is None:
            self.reshape(bottom, top)
        for i, array in enumerate(self.item or ()):
            top[i].data[...] = array
        self.item = None
        self.position += self.step * self.batch
        if self.ahead is None and self.params["prefetch"]:
            # Not before the first forward: a net that is only built costs no thread.
            depth = self.params["prefetch"] * self.batch
            self.ahead = Ahead(self.load, self.position, self.step, depth, batch=self.batch)

    def backward(self, top, propagate_down, bottom):
        pass

    def state(self):
        """The position in the order as a JSON-able dict; what is only read ahead does not count.

        The same for every solver of a group, and independent of their number.
        """
        return {
            "consumed": self.position - self.turn * self.batch,
            "seed": self.seed,
            "randomize": self.randomize,
            "ids": len(self.source.ids),
            "ids_crc32": self.fingerprint,
        }

    def restore_state(self, state):
        """Go on where `state()` was taken: the next forward yields what it would have then.

        Raises DataError if the split or its randomization is not the same any more.
        """
        name, where = type(self).__name__, self.source.where
        try:
            consumed, seed_ = state["consumed"], state["seed"]
            same = state["ids"], state["ids_crc32"]
            randomize = state["randomize"]
            wrong = not isinstance(consumed, int) or consumed < 0
        except (KeyError, TypeError):
            wrong = True
        if wrong:
            raise DataError(f"{name}: the saved position is damaged; start from the weights alone")
        if same != (len(self.source.ids), self.fingerprint):
            raise DataError(
                f"{where}: holds other ids than at the snapshot ({len(self.source.ids)} now, "
                f"{same[0]} then); put the old list back, or start from the weights alone"
            )
        if randomize != self.randomize:
            raise DataError(
                f"{name}: randomize is {self.randomize}, but was {randomize} at the snapshot; "
                "set it back, or start from the weights alone"
            )
        if self.ahead is not None:
            self.ahead.stop()
        self.ahead = self.item = None
        self.seed = seed_
        self.position = consumed + self.turn * self.batch
        self.load = self._loader()


def _group(name, alone):
    return getattr(caffe, name, lambda: alone)()


def _fingerprint(ids):
    return zlib.crc32("\n".join(ids).encode())


def to_blob(array, mean, shrink=1, drawn=augment.AS_IT_IS, photograph=False):
    """H x W (x C) -> 1 x C x h x w float32: shrunk, changed as was `drawn`, `mean` (C numbers)
    subtracted.

    With a mean the array is an image and shrinks by box averages; without, it is a label map and
    keeps its values: the nearest pixel is taken. h = ceil(H / shrink), unless it is scaled or cut.
    photograph: the colours may change.
    """
    image = mean is not None
    if shrink > 1:
        array = shrink_image(array, shrink) if image else shrink_label(array, shrink)
    array, start = augment.scaled(array, drawn.factor, image), (0, 0)
    if drawn.crop:
        sides = zip(array.shape, drawn.crop, drawn.place)
        (top, down, height), (left, across, width) = (augment.window(*side) for side in sides)
        array, start = array[top : top + height, left : left + width], (down, across)
    if photograph and drawn.colour:
        array = augment.coloured(array, drawn.colour)
    if array.ndim == 2:
        array = array[..., None]
    out = np.empty((1, array.shape[2], *array.shape[:2]), np.float32)
    for channel in range(array.shape[2]):
        # In float64 and rounded once, as NumPy does it for `image -= mean`.
        shift = mean[channel] if image else 0.0
        np.subtract(array[..., channel], shift, out[0, channel], dtype=float, casting="same_kind")
    if drawn.crop:
        out = augment.surrounded(out, drawn.crop, start, image)
    return out[..., ::-1] if drawn.flip else out


def shrink_image(array, factor):
    """Means of factor x factor boxes (smaller at the lower and right edges), as float32."""
    height, width = array.shape[:2]
    size = (-(-height // factor), -(-width // factor))
    sums = np.zeros(size + array.shape[2:], np.float32)
    for i in range(factor):
        for j in range(factor):
            part = array[i::factor, j::factor]
            sums[: part.shape[0], : part.shape[1]] += part
    sides = [np.minimum(factor, n - np.arange(0, n, factor)) for n in (height, width)]
    counts = np.multiply.outer(*sides).astype(np.float32)
    return sums / (counts if array.ndim == 2 else counts[..., None])


def shrink_label(array, factor):
    """The value at the middle of every factor x factor box."""
    rows, columns = (
        np.minimum(np.arange(0, n, factor) + factor // 2, n - 1) for n in array.shape[:2]
    )
    return array[rows][:, columns]
