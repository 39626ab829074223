"""Classifier: a net that tells what pictures show."""

from __future__ import annotations

import numpy as np

from . import io
from .core.layer import TEST
from .errors import InputError
from .net import Net


def input_transformer(net, mean, input_scale, raw_scale, channel_swap) -> io.Transformer:
    """What makes pictures (H, W, K) into `net`'s first input blob; None leaves a step out."""
    if not net.inputs:
        raise InputError(
            f"net '{net.name}' has no Input layer for the pictures; use its deploy prototxt"
        )
    name = net.inputs[0]
    transformer = io.Transformer({name: net.blobs[name].data.shape})
    transformer.set_transpose(name, (2, 0, 1))
    for setting, value in (
        (transformer.set_mean, mean),
        (transformer.set_input_scale, input_scale),
        (transformer.set_raw_scale, raw_scale),
        (transformer.set_channel_swap, channel_swap),
    ):
        if value is not None:
            setting(name, value)
    return transformer


def first_output(net, transformer, pictures) -> np.ndarray:
    """The net's first output for each of `pictures` (H, W, K), batch by batch."""
    name = net.inputs[0]
    data = np.stack([transformer.preprocess(name, picture) for picture in pictures])
    wanted = net.blobs[name].data.shape[1:]
    if data.shape[1:] not in (wanted, (1, *wanted[1:])):  # grey is the same in every channel
        raise io.WrongArray(f"pictures of {data.shape[1]} channels for an input of {wanted}")
    data = np.broadcast_to(data, (len(data), *wanted))
    return net.forward_all(**{name: data})[net.outputs[0]]


class Classifier(Net):
    """A net that classifies pictures: whole, the centre, or ten crops of each.

    Classifier(model_file, pretrained_file, image_dims=None, mean=None, input_scale=None,
    raw_scale=None, channel_swap=None). `image_dims` (height, width) is the size that pictures are
    brought to before they are cropped (default: the net's input size, so that nothing is cut);
    the others are `caffe.io.Transformer`'s.
    """

    def __init__(
        self,
        model_file,
        pretrained_file,
        image_dims=None,
        mean=None,
        input_scale=None,
        raw_scale=None,
        channel_swap=None,
    ):
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = input_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else image_dims

    def predict(self, inputs, oversample=True) -> np.ndarray:
        """The net's first output for pictures (H, W, K), float32 RGB in [0, 1].

        With `oversample`, (N, C): the mean over corners, centre and their mirrors; without, the
        output of the centre crop.
        """
        pictures = [io.resize_image(picture, self.image_dims) for picture in inputs]
        if not pictures:
            raise io.WrongArray("there is no picture to classify")
        if oversample:
            output = first_output(self, self.transformer, io.oversample(pictures, self.crop_dims))
            return output.reshape(len(pictures), 10, -1).mean(axis=1)
        height, width = self.crop_dims
        size = pictures[0].shape
        if size[0] < height or size[1] < width:
            raise io.WrongArray(f"image_dims {self.image_dims} are less than {self.crop_dims}")
        # A picture is cut at its centre; where one pixel is left over, it is at the bottom right.
        y, x = int((size[0] - height) / 2), int((size[1] - width) / 2)
        crops = [picture[y : y + height, x : x + width] for picture in pictures]
        return first_output(self, self.transformer, crops)
