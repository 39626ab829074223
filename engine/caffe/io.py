"""Pictures and arrays into nets and out of them: pycaffe's `caffe.io`."""

from __future__ import annotations

import math
import os

import numpy as np

from .errors import WrongArray as WrongArray
from .proto import caffe_pb2
from .proto.encoding import MAX_AXES, Damaged, read_blob
from .reading import interpolation, pixels

_OTHERS = ("skimage", "resize", "zoom")
"""What BVLC's module has of other packages; each is imported when it is asked for."""


def __getattr__(name: str):
    if name == "zoom":
        from scipy.ndimage import zoom

        return zoom
    if name in _OTHERS:
        from .reading import scikit_image

        package = scikit_image.package()
        return package if name == "skimage" else package.transform.resize
    raise AttributeError(f"module 'caffe.io' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_OTHERS})


# -- messages -----------------------------------------------------------------------------------


def _shaped(values: np.ndarray, shape, what: str) -> np.ndarray:
    if len(shape) > MAX_AXES or min(shape, default=0) < 0 or math.prod(shape) != values.size:
        head = f"{tuple(shape[:MAX_AXES])}{' and more' if len(shape) > MAX_AXES else ''}"
        raise WrongArray(f"{what} of shape {head} holds {values.size} values")
    try:
        return values.reshape(shape)
    except ValueError:  # no values, and axes whose product without the 0 is beyond NumPy
        raise WrongArray(f"{what} has the impossible shape {tuple(shape)}") from None


def _numbers(field, dtype) -> np.ndarray:
    """A repeated field's numbers, one at a time: as a list they would take 8 times as much."""
    return np.fromiter(field, dtype, len(field))


def blobproto_to_array(blob, return_diff=False) -> np.ndarray:
    """The numbers of a BlobProto (its gradients with `return_diff`), float64, in its shape."""
    floats, doubles = (
        (blob.diff, blob.double_diff) if return_diff else (blob.data, blob.double_data)
    )
    legacy = ("num", "channels", "height", "width")
    if any(blob.HasField(name) for name in legacy):
        shape = tuple(getattr(blob, name) for name in legacy)
    else:
        shape = tuple(blob.shape.dim)
    what = "a BlobProto's diff" if return_diff else "a BlobProto"
    values = _numbers(doubles if len(doubles) else floats, np.float64)
    if not values.size and math.prod(shape):
        values = _raw_numbers(blob, return_diff, what)
    return _shaped(values, shape, what)


def _raw_numbers(blob, return_diff: bool, what: str) -> np.ndarray:
    """The numbers that NVIDIA Caffe stores as bytes, in fields unknown to Caffe's schema."""
    content = memoryview(blob.SerializeToString())
    try:
        found = read_blob(content, 0, len(content))
    except Damaged as err:
        raise WrongArray(f"{what}: {err}") from None
    values = found.diff if return_diff else found.data
    return np.zeros(0) if values is None else values.astype(np.float64).reshape(-1)


def array_to_blobproto(arr, diff=None):
    """A BlobProto of an array of any number of axes, with gradients if they are given."""
    array = np.asarray(arr)
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(array.shape)
    blob.data.extend(array.astype(float).ravel().tolist())
    if diff is not None:
        if np.shape(diff) != array.shape:
            raise WrongArray(f"a diff of shape {np.shape(diff)} for an array of {array.shape}")
        blob.diff.extend(np.asarray(diff).astype(float).ravel().tolist())
    return blob


def arraylist_to_blobprotovector_str(arraylist) -> bytes:
    """Arrays as the bytes of a BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector()
    vector.blobs.extend(array_to_blobproto(array) for array in arraylist)
    return vector.SerializeToString()


def blobprotovector_str_to_arraylist(str) -> list[np.ndarray]:
    """The arrays in the bytes of a BlobProtoVector."""
    from google.protobuf.message import DecodeError

    try:
        vector = caffe_pb2.BlobProtoVector.FromString(str)
    except DecodeError:
        raise WrongArray("these bytes are no BlobProtoVector") from None
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr, label=None):
    """A Datum of a (channels, height, width) array: bytes for uint8, else float_data."""
    array = np.asarray(arr)
    if array.ndim != 3:
        raise WrongArray(f"a Datum has the axes channels, height, width; not {array.shape}")
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = array.shape
    if array.dtype == np.uint8:
        datum.data = array.tobytes()
    else:
        datum.float_data.extend(array.astype(float).ravel().tolist())
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum) -> np.ndarray:
    """The (channels, height, width) array of a Datum: uint8 from bytes, else float64."""
    shape = (datum.channels, datum.height, datum.width)
    if datum.encoded:
        raise WrongArray("the Datum holds an encoded picture (PNG, JPEG); decode datum.data")
    if datum.data:
        values = np.frombuffer(datum.data, dtype=np.uint8).copy()
    else:
        values = _numbers(datum.float_data, np.float64)
    return _shaped(values, shape, "a Datum")


# -- pictures -----------------------------------------------------------------------------------


def load_image(filename, color=True) -> np.ndarray:
    """A picture as float32 in [0, 1]: (H, W, 3) RGB, or (H, W, 1) with color=False.

    Alpha is left out of colours; grey values are of the picture on white. A JPEG is turned as
    its EXIF tag says. Raises FileError for a file that is missing, damaged or no picture.
    """
    array = pixels.in_unit_range(pixels.read(filename), os.fspath(filename))
    if not color:
        array = pixels.gray(array)
    array = array.astype(np.float32)
    if array.ndim == 2:
        return np.tile(array[:, :, None], (1, 1, 3 if color else 1))
    return array[:, :, :3]


def resize_image(im, new_dims, interp_order=1) -> np.ndarray:
    """A picture (H, W, K) at new_dims (height, width), float32.

    `interp_order`: 0 nearest, 1 linear, 3 cubic; 2, 4, 5 splines. With 1 or 3 channels a picture
    is shrunk with smoothing and has black (its least value) beyond the border; with other numbers
    of channels it is interpolated between its corners.
    """
    image = np.asarray(im)
    size = tuple(int(n) for n in new_dims)
    if image.ndim != 3 or 0 in image.shape:
        raise WrongArray(f"a picture has the axes height, width, channels; not {image.shape}")
    if len(size) != 2 or min(size) < 1:
        raise WrongArray(f"a picture's size is (height, width), each at least 1; not {new_dims}")
    if interp_order not in interpolation.ORDERS:
        raise WrongArray(f"interp_order is 0 to 5, not {interp_order}")
    if image.shape[2] not in (1, 3):
        return interpolation.zoom(image, size, interp_order).astype(np.float32)
    least, most = image.min(), image.max()
    if not most > least:
        return np.full((*size, image.shape[2]), least, dtype=np.float32)
    span = most - least
    out = interpolation.resize((image - least) / span, size, interp_order) * span + least
    return out.astype(np.float32)


def oversample(images, crop_dims) -> np.ndarray:
    """Crops of pictures (H, W, K): the corners (upper left, upper right, lower left, lower
    right) and the centre, then the same mirrored: (10 N, height, width, K), float32."""
    images = [np.asarray(image) for image in images]
    height, width = (int(n) for n in crop_dims)
    if not images:
        raise WrongArray("there is no picture to crop")
    shape = images[0].shape
    for image in images:
        if image.ndim != 3 or image.shape != shape:
            raise WrongArray(f"pictures to crop must have one shape (H, W, K), not {image.shape}")
    if height > shape[0] or width > shape[1]:
        raise WrongArray(f"a crop of {height} x {width} from a picture of {shape[0]} x {shape[1]}")
    down, right = shape[0] - height, shape[1] - width
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    crops = np.empty((len(images), 10, height, width, shape[2]), dtype=np.float32)
    for i, image in enumerate(images):
        for j, (y, x) in enumerate(corners):
            crops[i, j] = image[y : y + height, x : x + width]
        crops[i, 5:] = crops[i, :5, :, ::-1]
    return crops.reshape(-1, height, width, shape[2])


class Transformer:
    """Pictures into a net's input blobs (`preprocess`) and back (`deprocess`).

    Transformer({blob name: shape of the blob}); then, per blob: `set_transpose`,
    `set_channel_swap`, `set_raw_scale`, `set_mean`, `set_input_scale`. What is set lies in the
    attributes `transpose`, `channel_swap`, `raw_scale`, `mean`, `input_scale`, by blob name.
    """

    def __init__(self, inputs):
        self.inputs = inputs
        self.transpose: dict = {}
        self.channel_swap: dict = {}
        self.raw_scale: dict = {}
        self.mean: dict = {}
        self.input_scale: dict = {}

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self.inputs:
            raise WrongArray(f"'{name}' is not one of the inputs {', '.join(self.inputs)}")
        return tuple(self.inputs[name])

    def set_transpose(self, in_, order) -> None:
        """The picture's axes in the blob's order: (2, 0, 1) makes H x W x K to K x H x W."""
        axes = len(self._shape(in_)) - 1
        if sorted(axis + axes if axis < 0 else axis for axis in order) != list(range(axes)):
            raise WrongArray(f"'{in_}': transpose must order the axes 0 to {axes - 1}, not {order}")
        self.transpose[in_] = order

    def set_channel_swap(self, in_, order) -> None:
        """Which of the picture's channels become the input's, after transposing: (2, 1, 0) makes
        RGB to BGR, and leaves out the fourth channel of RGBA."""
        channels = self._shape(in_)[1]
        if len(order) != channels:
            raise WrongArray(f"'{in_}': channel swap must order {channels} channels, not {order}")
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_, scale) -> None:
        """What to multiply pixels with before the mean is subtracted (255 for [0, 1])."""
        self._shape(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_, mean) -> None:
        """What to subtract: one number per channel, or (channels, height, width) or (height,
        width), which is resized where the blob has another size."""
        shape = self._shape(in_)
        mean = np.asarray(mean)
        if mean.ndim == 1:
            if mean.shape[0] != shape[1]:
                raise WrongArray(f"'{in_}': a mean of {mean.shape[0]} channels, not {shape[1]}")
            mean = mean[:, None, None]
        elif mean.ndim not in (2, 3):
            raise WrongArray(f"'{in_}': a mean of shape {mean.shape}; give 1, 2 or 3 axes")
        else:
            planes = mean.reshape(-1, *mean.shape[-2:])
            if len(planes) not in (1, shape[1]):
                raise WrongArray(f"'{in_}': a mean of {len(planes)} channels, not {shape[1]}")
            if planes.shape[1:] != shape[2:]:
                mean = resize_image(planes.transpose(1, 2, 0), shape[2:]).transpose(2, 0, 1)
        self.mean[in_] = mean

    def set_input_scale(self, in_, scale) -> None:
        """What to multiply with at the very end, after the mean was subtracted."""
        self._shape(in_)
        self.input_scale[in_] = scale

    def preprocess(self, in_, data) -> np.ndarray:
        """A picture (H, W, K), RGB in [0, 1] as `load_image` gives it, as input for blob `in_`:
        resized, transposed, channels swapped, scaled, mean subtracted, scaled; float32.

        `data` itself is left alone.
        """
        size = self._shape(in_)[2:]
        array = np.array(data, dtype=np.float32)
        if array.shape[:2] != size:
            array = resize_image(array, size)
        order, swap = self.transpose.get(in_), self.channel_swap.get(in_)
        if order is not None:
            if len(order) != array.ndim:
                raise WrongArray(f"'{in_}': a picture of shape {array.shape}, not H x W x K")
            array = array.transpose(order)
        if swap is not None:
            if max(swap) >= len(array) or min(swap) < -len(array):
                raise WrongArray(f"'{in_}': channel swap {swap} of {len(array)} channels")
            array = array[list(swap)]
        if in_ in self.raw_scale:
            array *= self.raw_scale[in_]
        if in_ in self.mean:
            array -= self.mean[in_]
        if in_ in self.input_scale:
            array *= self.input_scale[in_]
        return array

    def deprocess(self, in_, data) -> np.ndarray:
        """The undoing of `preprocess`, but for the size: a picture (H, W, K) of an input blob's
        data, as it is for one picture. Without a transpose, axes of length 1 are left out."""
        shape = self._shape(in_)[1:]
        array = np.array(data)
        if array.dtype.kind != "f":
            array = array.astype(np.float32)
        # In the blob's own shape, so that an axis of length 1 is not lost on the way.
        array = array.reshape(shape) if array.shape in (shape, (1, *shape)) else array.squeeze()
        if in_ in self.input_scale:
            array /= self.input_scale[in_]
        if in_ in self.mean:
            array += self.mean[in_]
        if in_ in self.raw_scale:
            array /= self.raw_scale[in_]
        swap, order = self.channel_swap.get(in_), self.transpose.get(in_)
        if swap is not None:
            array = array[np.argsort(swap)]
        if order is None:
            return array.squeeze()
        if len(order) != array.ndim:
            raise WrongArray(f"'{in_}': data of shape {np.shape(data)} for an input of {shape}")
        return array.transpose(np.argsort(order))
