"""Data: Datums of an LMDB or LevelDB database, in the order of their keys."""

from __future__ import annotations

import numpy as np

from ..compute import rng
from ..errors import InputError
from ..log import ERROR, log
from ..proto import caffe_pb2
from ..reading.data_transformer import Transformer
from ..reading.databases import Database
from . import register
from ._data import (
    ITEM,
    Prefetching,
    draw_skip,
    failing,
    randomness,
    require_positive_batch,
    same_sizes,
    stack,
    turn,
    warn_of_old_transform,
)


def _name(key: bytes) -> str:
    return f"item '{key.decode('utf-8', 'backslashreplace')}'"


class _Datums:
    """The source of Data; see `_data`."""

    def __init__(self, layer, labelled: bool):
        param = layer.layer_param.data_param
        self.fail = failing(layer)
        self.batch = require_positive_batch(layer, param.batch_size)
        try:
            self.database = Database(param.source, param.backend)
        except InputError as error:
            raise self.fail(str(error)) from None
        transform = layer.layer_param.transform_param
        if param.force_encoded_color and not transform.force_color:
            transform = type(transform).FromString(transform.SerializeToString())
            transform.force_color = True
        self.transform = Transformer(transform, layer.phase, self.fail)
        self.labelled = labelled
        self.solvers, self.rank = turn(layer)
        self.skip = draw_skip(param.rand_skip)
        self.start = {"items": 0, "skip": self.skip}
        if self.transform.is_random:
            self.start["seed"] = rng.draw_seed()
        self.complained = False
        walk = self.walk(self.skip)
        key, value = next(walk)
        self.contents = bytes(key), len(value)
        shape = self.transform.shape(self.picture(key, value)[0].shape, _name(key))
        walk.close()
        self.shapes = [(self.batch, *shape), (self.batch,)]

    def walk(self, start: int):
        try:
            yield from self.database.walk(start)
        except InputError as error:
            raise self.fail(str(error)) from None

    def picture(self, key: bytes, value) -> tuple[np.ndarray, int]:
        """A Datum's picture (channels, height, width) and label."""

        def broken(why):
            return self.fail(f"{self.database.source}: {_name(key)}: {why}")

        try:
            datum = caffe_pb2.Datum.FromString(bytes(value))
        except Exception:  # DecodeError; its module depends on protobuf's implementation
            raise broken("is no Datum, or it is damaged") from None
        if datum.encoded:
            try:
                return self.transform.decode(datum.data), datum.label
            except InputError as error:
                text = str(error)
                raise (error if text.startswith(str(self.fail(""))) else broken(text)) from None
        if self.transform.forced and not self.complained:
            self.complained = True
            log("force_color and force_gray only for encoded datum", ERROR, "data_transformer")
        shape = (datum.channels, datum.height, datum.width)
        size = shape[0] * shape[1] * shape[2] if min(shape) > 0 else 0
        found = len(datum.data) or len(datum.float_data)
        if size == 0 or size != found:
            raise broken(f"a Datum of shape {shape} with {found} values")
        if datum.data:
            return np.frombuffer(datum.data, np.uint8).reshape(shape), datum.label
        return np.fromiter(datum.float_data, np.float32, found).reshape(shape), datum.label

    def batches(self, state: dict):
        number, seed = state["items"], state.get("seed")
        fixed = {name: value for name, value in state.items() if name != "items"}
        number += self.rank
        walk = self.walk(state["skip"] + number)
        while True:
            data, labels = None, stack((), self.batch)
            for i in range(self.batch):
                key, value = next(walk)
                picture, labels[i] = self.picture(key, value)
                made = self.transform.shape(picture.shape, _name(key))
                if data is None:
                    data, first = stack(made, self.batch), made
                same_sizes(self.fail, first, made, _name(key))
                random = None if seed is None else randomness(seed, ITEM, number)
                self.transform(picture, data[i], random)
                number += self.solvers
                for _ in range(self.solvers - 1):
                    next(walk)
            state = {"items": number - self.rank, **fixed}
            yield ((data, labels) if self.labelled else (data,)), state


@register("Data")
class Data(Prefetching):
    num_top = (1, 2)

    def open_source(self, top):
        warn_of_old_transform(self, self.layer_param.data_param)
        return _Datums(self, len(top) > 1)
