"""VGG weights from PyTorch: torchvision's .pth, or .safetensors with torchvision's or timm's keys.

The convolutions are features.<i>.weight; where one stage ends and the next begins shows in the
gaps between the indices (a pooling layer takes one). Batch normalisation (vgg16_bn, vgg19_bn) is
folded into the convolution before it, which is exact at test time.

Normalisation. torchvision's nets see x = (rgb / 255 - m) / s; Caffe's see z = bgr - M. With
rgb = z + M the first layer becomes w' = w / (255 s), its input channels reversed, and
b' = b + sum of w (M / 255 - m) / s. That is exact wherever the kernel lies on the picture. In the
padding z = 0 stands for the colour M and x = 0 for 255 m, which differ by less than one grey level
with Caffe's mean; outside the picture the two nets see that much of a different border.
"""

import os
import re
from collections import OrderedDict

import numpy as np

import caffe
from prototxt.files import wrong_kind
from prototxt.opening import open_regular
from surgery.errors import SurgeryError

MEAN_RGB = np.array([0.485, 0.456, 0.406])
STD_RGB = np.array([0.229, 0.224, 0.225])
LONGEST_TABLE = 100_000_000  # bytes of a safetensors file's contents, by its own rules
BATCH_NORM_EPS = 1e-5  # PyTorch's default, which torchvision's VGGs have

# Fully connected layers: torchvision's key and timm's. classifier.6 and head.fc are VGG's fc8.
CLASSIFIER = {
    "fc6": ("classifier.0", "pre_logits.fc1"),
    "fc7": ("classifier.3", "pre_logits.fc2"),
    "fc8": ("classifier.6", "head.fc"),
}


def read_pth(path):
    """The state dict of a .pth file, as NumPy arrays, read without running code from the file."""
    engine = getattr(caffe, "engine", None)
    if engine is None:
        raise SurgeryError(
            f"{path}: BVLC Caffe cannot read PyTorch files; run this with the embedded engine, or "
            "convert the file to .safetensors"
        )
    try:
        return engine.load_torch_weights(path)
    except engine.Error as error:
        raise SurgeryError(str(error)) from None


def read_safetensors(path):
    """The tensors of a .safetensors file, as NumPy arrays."""
    try:
        from safetensors.numpy import load
    except ImportError:
        raise SurgeryError(
            f"{path}: reading it needs the package safetensors: pip install safetensors"
        ) from None
    with open_regular(path) as file:  # read, not mapped: the file may become shorter meanwhile
        wrong = wrong_kind(path, "a safetensors file", "safetensors")
        if wrong:
            raise SurgeryError(f"{path}: {wrong}")
        _check_head(file, path)
        content = file.read()
    try:
        return load(content)
    except MemoryError:
        raise
    except Exception as error:  # of safetensors, and of NumPy for types that it does not know
        told = " ".join(str(error).split())
        raise SurgeryError(f"{path}: not a readable safetensors file ({told})") from None


def _check_head(file, path):
    """Raise SurgeryError unless the file begins as a safetensors file of its size, whose table of
    contents is JSON, its length before it. It is at its beginning again then."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(size - 8, LONGEST_TABLE) or file.read(1) != b"{":
        raise SurgeryError(f"{path}: not a safetensors file, or damaged at its head")
    file.seek(0)


def convert(state, mean_bgr, path):
    """A VGG's state dict as ordered dict name -> [weights, bias] for Caffe's input.

    state: key -> array. mean_bgr: the 3 numbers that the Caffe net's data layer subtracts. path
    is for messages. Raises SurgeryError where the keys are not those of a VGG.
    """
    found = (re.fullmatch(r"features\.([0-9]{1,4})\.weight", key) for key in state)
    indices = sorted(int(m.group(1)) for m in found if m and state[m.group(0)].ndim == 4)
    if not indices or any(f"features.{i}.bias" not in state for i in indices):
        raise SurgeryError(f"{path}: no features.<i>.weight and .bias as torchvision's VGGs have")
    normalised = f"features.{indices[0] + 1}.running_mean" in state
    step = 3 if normalised else 2  # convolution, (batch normalisation,) ReLU
    weights, stage, j, last = OrderedDict(), 1, 0, indices[0] - step
    for i in indices:
        stage, j = (stage, j + 1) if i - last == step else (stage + 1, 1)
        weight, bias = _pair(state, f"features.{i}", path)
        if normalised:
            weight, bias = _fold_batch_norm(state, i + 1, weight, bias, path)
        weights[f"conv{stage}_{j}"] = [weight, bias]
        last = i
    weight, bias = weights["conv1_1"]
    weights["conv1_1"] = _fold_normalisation(weight, bias, mean_bgr, path)
    for name, keys in CLASSIFIER.items():
        for key in keys:
            if key + ".weight" in state and key + ".bias" in state:
                weights[name] = [*_pair(state, key, path)]
    return OrderedDict(
        (name, [array.astype(np.float32, copy=False) for array in arrays])
        for name, arrays in weights.items()
    )


def _array(state, key):
    return np.asarray(state[key])


def _pair(state, key, path):
    """Weights and bias of a layer. Raises SurgeryError where they are not of one."""
    weight, bias = _array(state, key + ".weight"), _array(state, key + ".bias")
    floats = weight.dtype.kind == bias.dtype.kind == "f"
    if not floats or not weight.ndim or bias.shape != weight.shape[:1]:
        raise SurgeryError(
            f"{path}: {key}: weights of shape {weight.shape} ({weight.dtype}) and a bias of shape "
            f"{bias.shape} ({bias.dtype}) are not of one layer"
        )
    return weight, bias


def _fold_batch_norm(state, index, weight, bias, path):
    try:
        gamma, beta, mean, variance = (
            _array(state, f"features.{index}.{name}").astype(np.float64)
            for name in ("weight", "bias", "running_mean", "running_var")
        )
    except KeyError as error:
        raise SurgeryError(f"{path}: {error} is missing beside its batch normalisation") from None
    if any(array.shape != bias.shape for array in (gamma, beta, mean, variance)):
        raise SurgeryError(f"{path}: features.{index} does not fit the convolution before it")
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPS)
    return weight * scale[:, None, None, None], (bias - mean) * scale + beta


def _fold_normalisation(weight, bias, mean_bgr, path):
    if weight.shape[1] != 3:
        raise SurgeryError(f"{path}: the first layer has {weight.shape[1]} input channels, not 3")
    weight = weight.astype(np.float64) / STD_RGB[:, None, None]
    mean_rgb = np.array(mean_bgr, np.float64)[::-1]
    shift = mean_rgb / 255 - MEAN_RGB
    bias = bias + (weight * shift[:, None, None]).sum(axis=(1, 2, 3))
    return [np.ascontiguousarray(weight[:, ::-1]) / 255, bias]
