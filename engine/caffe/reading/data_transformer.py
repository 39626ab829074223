"""The data transformer that Caffe's data layers share: crop, mirror, mean, scale, in that order.

Each element becomes (value - mean) · scale in float32; the mean is that of the element's own place
in the picture before it was cropped and mirrored.
"""

from __future__ import annotations

import numpy as np

from ..core.layer import TRAIN
from ..errors import InputError
from ..proto import encoding, kinds
from . import images


def read_mean(path) -> np.ndarray:
    """The mean picture in a binaryproto file, float32 (channels, height, width).

    Raises InputError, naming the file."""
    buf, name = kinds.open_message(path, "a mean_file (binaryproto)", kinds.BLOB)
    try:
        blob = encoding.read_blob(buf, 0, len(buf))
    except encoding.Damaged as error:
        raise InputError(f"{name}: is no binaryproto, or it is damaged: {error}") from None
    shape = tuple(blob.shape)
    if len(shape) > 4 or any(d < 1 for d in shape):
        raise InputError(f"{name}: a mean of shape {shape} with {blob.data.size} values")
    # Caffe's num is taken to be 1: what lies beyond the first picture is never looked at.
    return np.array(blob.data).reshape(*shape, *[1] * (4 - len(shape)))[0]


class Mean:
    """What a layer subtracts: `mean_file`, `mean_value`s, or nothing.

    `fail` makes the InputError of a message."""

    def __init__(self, param, fail):
        self.fail = fail
        self.file, self.values = None, None
        if param.HasField("mean_file"):
            if param.mean_value:
                raise fail("mean_file and mean_value are both given; give one")
            try:
                self.file = read_mean(param.mean_file)
            except InputError as error:
                raise fail(f"mean_file: {error}") from None
        elif param.mean_value:
            self.values = np.array(param.mean_value, np.float32)

    def of_channels(self, channels: int):
        """The mean_values as (channels, 1, 1), or None."""
        if self.values is None:
            return None
        if len(self.values) not in (1, channels):
            raise self.fail(
                f"{len(self.values)} mean_values for {channels} channels; give one, or one each"
            )
        return np.broadcast_to(self.values, channels)[:, None, None]


class Transformer:
    """What TransformationParameter `param` says, in `phase`; `fail` makes the InputError of a
    message.

    Call it with a picture, uint8 or float32 (channels, height, width), the float32 array that
    takes the result, and a numpy.random.Generator (None where `is_random` is False).
    """

    def __init__(self, param, phase: int, fail):
        self.fail = fail
        self.crop, self.scale = param.crop_size, np.float32(param.scale)
        self.mirror, self.crops_anywhere = param.mirror, phase == TRAIN and param.crop_size > 0
        self.is_random = self.mirror or self.crops_anywhere
        self.forced = param.force_color or param.force_gray
        self.channels = images.AS_STORED
        if self.forced:
            self.channels = images.COLOR if param.force_color else images.GRAY
        self.both_forced = param.force_color and param.force_gray
        self.mean = Mean(param, fail)

    def decode(self, data: bytes) -> np.ndarray:
        """An encoded picture as (channels, height, width), with the channels that `force_color`
        and `force_gray` ask for. InputError without a name for a broken picture."""
        if self.both_forced:
            raise self.fail("force_color and force_gray are both set; set one")
        return images.decode(data, self.channels).transpose(2, 0, 1)

    def shape(self, given: tuple[int, int, int], what: str = "the picture") -> tuple[int, int, int]:
        """The shape of what a picture of shape `given` becomes; `what` names it in errors."""
        channels, height, width = given
        if self.crop > min(height, width):
            raise self.fail(f"crop_size {self.crop} is more than {what} has: {height} × {width}")
        if self.mean.file is not None and self.mean.file.shape != given:
            raise self.fail(
                f"the mean in mean_file is of shape {self.mean.file.shape}, {what} of {given}"
            )
        self.mean.of_channels(channels)
        return channels, self.crop or height, self.crop or width

    def __call__(self, picture: np.ndarray, out: np.ndarray, random=None) -> None:
        _, height, width = self.shape(picture.shape)
        mirrored = self.mirror and random.integers(2) == 1
        down, right = picture.shape[1] - height, picture.shape[2] - width
        if self.crops_anywhere:
            top, left = random.integers(down + 1), random.integers(right + 1)
        else:
            top, left = down // 2, right // 2
        window = np.s_[:, top : top + height, left : left + width]
        turn = np.s_[:, :, ::-1] if mirrored else np.s_[:, :, :]
        mean = self.mean.of_channels(len(picture))
        if self.mean.file is not None:
            mean = self.mean.file[window][turn]
        if mean is None:
            np.multiply(picture[window][turn], self.scale, out=out, dtype=np.float32)
            return
        np.subtract(picture[window][turn], mean, out=out, dtype=np.float32)
        if self.scale != 1:
            out *= self.scale
