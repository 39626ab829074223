"""How CUDA GPUs multiply: in Caffe's float32, or faster and rougher; `caffe.engine` names it."""

from __future__ import annotations

import torch

from .errors import InputError
from .workspace import bound_workspace

PRECISIONS = ("float32", "tf32", "bfloat16")

_chosen = {"precision": "float32"}


def set_precision(name: str) -> None:
    """In what precision CUDA GPUs multiply, from the next pass on. InputError for other names
    than these:

    * "float32" (default): as Caffe does.
    * "tf32": the factors of convolutions and matrix products are rounded to TF32's 10 bits, on
      GPUs that have it (compute capability 8.0 on).
    * "bfloat16": what goes into and comes out of the products of Convolution layers is rounded
      to bfloat16's 7 bits; blobs, gradients of biases and updates are float32.

    The CPU multiplies in float32 whatever is chosen.
    """
    if name not in PRECISIONS:
        raise InputError(f"precision '{name}' is not one of {', '.join(PRECISIONS)}")
    _chosen["precision"] = name
    round_factors()


def set_autotuning(on: bool) -> None:
    """Whether cuDNN tries its algorithms for each convolution at its first pass with an image
    size, and keeps the fastest for that size (default: no). It pays where sizes come again. Chosen
    before the first pass, it leaves out algorithms that want more than 512 MiB of workspace, or
    what `CUDNN_CONV_WSCAP_DBG` in the environment says, in MiB."""
    if on:
        bound_workspace()
    torch.backends.cudnn.benchmark = bool(on)


def round_factors() -> None:
    """Let cuDNN and cuBLAS round factors, which cuDNN would by default, only if that is chosen."""
    tf32 = _chosen["precision"] == "tf32"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32


def rounds(tensor: torch.Tensor) -> bool:
    """Whether a convolution on this tensor's device is in bfloat16."""
    return _chosen["precision"] == "bfloat16" and tensor.device.type == "cuda"
