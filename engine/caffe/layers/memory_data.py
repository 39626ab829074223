"""MemoryData: arrays that the user gives with `Net.set_input_arrays`."""

from __future__ import annotations

import numpy as np
import torch

from ..compute import transfers
from ..core.layer import Layer
from ..log import WARNING, log
from . import register
from ._data import whole


@register("MemoryData")
class MemoryData(Layer):
    num_bottom = (0, 0)
    num_top = (2, 2)

    def setup(self, bottom, top):
        param = self.layer_param.memory_data_param
        self.shape = (param.batch_size, param.channels, param.height, param.width)
        if 0 in self.shape:
            raise self.fail(
                "batch_size, channels, height and width of memory_data_param all have to be given"
            )
        top[0].reshape(*self.shape)
        top[1].reshape(self.shape[0])
        self.arrays, self.at = None, 0

    def set_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Give forward its data: `data` float32 (n, channels, height, width), `labels` float32
        (n,) or (n, 1, 1, 1), both C contiguous, n a multiple of batch_size.

        The arrays are not copied: what is written into them shows in the next forward. Raises
        InputError for other arrays."""
        labels = np.asarray(labels)
        if labels.ndim == 1:
            labels = np.ascontiguousarray(labels[:, None, None, None])
        for array, what, shape in ((data, "data", self.shape[1:]), (labels, "labels", (1, 1, 1))):
            self._check(array, f"{what} array", shape)
        if len(data) != len(labels):
            raise self.fail("data and labels must have the same first dimension")
        if len(data) % self.shape[0] or not len(data):
            raise self.fail("first dimensions of input arrays must be a multiple of batch size")
        if self.layer_param.HasField("transform_param"):
            log("MemoryData does not transform array data on Reset()", WARNING, "memory_data_layer")
        self.arrays, self.at = (data, labels), 0

    def _check(self, array, what: str, shape: tuple[int, ...]) -> None:
        if not isinstance(array, np.ndarray) or not array.flags.c_contiguous:
            raise self.fail(f"{what} must be C contiguous")
        if array.ndim != 4:
            raise self.fail(f"{what} must be 4-d")
        if array.dtype != np.float32:
            raise self.fail(f"{what} must be float32")
        for given, wanted, axis in zip(array.shape[1:], shape, ("channels", "height", "width")):
            if given != wanted:
                raise self.fail(f"{what} has wrong {axis}: {given}, not {wanted}")

    def forward(self, bottom, top):
        if self.arrays is None:
            raise self.fail("has no data yet: call Net.set_input_arrays(data, labels)")
        part = slice(self.at, self.at + self.shape[0])
        for blob, array in zip(top, self.arrays):
            blob.reshape(*array[part].shape)
            values = torch.from_numpy(np.require(array[part], requirements="W"))
            transfers.send(values, blob.overwrite())
        self.at = (self.at + self.shape[0]) % len(self.arrays[0])

    def state(self) -> dict:
        """Where in the arrays the next batch begins, for JSON; the arrays are the user's."""
        return {"at": self.at}

    def restore_state(self, state: dict) -> None:
        """Go on there, in the arrays that are set, or at their beginning if they are too short."""
        at = whole(state["at"])
        if at % self.shape[0]:
            raise ValueError(f"{at} is not where a batch of {self.shape[0]} begins")
        self.at = at if self.arrays is not None and at < len(self.arrays[0]) else 0
