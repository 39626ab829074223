"""Detector: a net that is run over windows of pictures, as R-CNN does."""

from __future__ import annotations

import numpy as np

from . import io
from .classifier import first_output, input_transformer
from .core.layer import TEST
from .errors import InputError
from .net import Net


class Detector(Net):
    """A net that is run over windows of pictures.

    Detector(model_file, pretrained_file, mean=None, input_scale=None, raw_scale=None,
    channel_swap=None, context_pad=None). With `context_pad`, each window is seen with so much of
    its surroundings that they make a border of that many pixels of the net's input; beyond the
    picture there is the mean (Girshick et al. 2014, appendix A). The others are
    `caffe.io.Transformer`'s.
    """

    def __init__(
        self,
        model_file,
        pretrained_file,
        mean=None,
        input_scale=None,
        raw_scale=None,
        channel_swap=None,
        context_pad=None,
    ):
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = input_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def configure_crop(self, context_pad) -> None:
        """Set the border, in pixels of the net's input (None or 0: the bare window)."""
        channels, height, width = self.blobs[self.inputs[0]].data.shape[1:]
        self.crop_dims = np.array([height, width, channels])
        self.context_pad = context_pad
        if not context_pad:
            return
        if context_pad < 0 or 2 * context_pad >= min(height, width):
            raise io.WrongArray(
                f"context_pad {context_pad} leaves nothing of an input of {height} x {width}"
            )
        self.crop_mean = self._mean_picture()

    def _mean_picture(self) -> np.ndarray:
        """The mean as a picture: what `preprocess` would turn into zeros."""
        name, transformer = self.inputs[0], self.transformer
        if name not in transformer.mean:
            return np.zeros(self.crop_dims, dtype=np.float32)
        mean = np.array(transformer.mean[name], dtype=np.float64)
        mean = mean.reshape(-1, *mean.shape[-2:])
        if name in transformer.channel_swap:
            mean = np.broadcast_to(mean, (self.crop_dims[2], *mean.shape[1:]))
            mean = mean[np.argsort(transformer.channel_swap[name])]
        return mean.transpose(1, 2, 0) / transformer.raw_scale.get(name, 1)

    def crop(self, im, window) -> np.ndarray:
        """A window (ymin, xmin, ymax, xmax), in pixels, of a picture (H, W, K); with a
        `context_pad`, in the size of the net's input and with its surroundings."""
        window = np.asarray(window).astype(int)
        if window.shape != (4,):
            raise io.WrongArray(f"a window is (ymin, xmin, ymax, xmax), not {window.tolist()}")
        if self.context_pad:
            return self._crop_with_context(im, window)
        piece = im[window[0] : window[2], window[1] : window[3]]
        if 0 in piece.shape:
            raise io.WrongArray(
                f"window {window.tolist()} is empty in a picture of {im.shape[0]} x {im.shape[1]}"
            )
        return piece

    def _crop_with_context(self, im, window) -> np.ndarray:
        size = self.crop_dims[:2]
        half = (window[2:] - window[:2] + 1) / 2
        center = window[:2] + half
        reach = half * size / (size - 2 * self.context_pad)
        low, high = np.round(center - reach), np.round(center + reach)
        scale = size / (high - low + 1)
        offset = np.round(np.maximum(0, -low) * scale).astype(int)
        limits = np.array(im.shape[:2])
        low, high = (np.clip(corner, 0, limits).astype(int) for corner in (low, high))
        seen = np.minimum(np.round((high - low + 1) * scale).astype(int), size - offset)
        piece = im[low[0] : high[0], low[1] : high[1]]
        if 0 in piece.shape or min(seen) < 1:
            raise io.WrongArray(
                f"window {window.tolist()} is outside a picture of {im.shape[0]} x {im.shape[1]}"
            )
        crop = np.empty(self.crop_dims, dtype=np.float32)
        crop[...] = self.crop_mean
        (y, x), (height, width) = offset, seen
        crop[y : y + height, x : x + width] = io.resize_image(piece, seen)
        return crop

    def detect_windows(self, images_windows) -> list[dict]:
        """The net's first output for windows of pictures.

        `images_windows`: pairs (picture file, windows), a window being (ymin, xmin, ymax, xmax)
        in pixels. Returns a dict per window, in order: `window`, `prediction`, `filename`.
        """
        found, crops = [], []
        for filename, windows in images_windows:
            picture = io.load_image(filename)
            for window in windows:
                crops.append(self.crop(picture, window))
                found.append({"window": window, "prediction": None, "filename": filename})
        if crops:
            for one, prediction in zip(found, first_output(self, self.transformer, crops)):
                one["prediction"] = prediction
        return found

    def detect_selective_search(self, image_fnames):
        """Refused: the proposals came from a MATLAB program that is no part of Caffe."""
        raise InputError(
            "detect_selective_search needs the MATLAB package selective_search_ijcv_with_python; "
            "make the windows otherwise and call detect_windows"
        )
