"""How CUDA GPUs multiply: in Caffe's float32, or faster and rougher; `caffe.engine` names it."""

from __future__ import annotations

import torch

from ..errors import InputError
from . import determinism, gpu_support
from .workspace import bound_workspace

PRECISIONS = ("float32", "tf32", "bfloat16")

_chosen = {"precision": "float32"}


def set_precision(name: str) -> None:
    """In what precision CUDA GPUs multiply, from the next pass on. InputError for other names
    than these:

    * "float32" (default): as Caffe does.
    * "tf32": the factors of convolutions and matrix products are rounded to TF32's 10 bits, on
      GPUs that have it (compute capability 8.0 on).
    * "bfloat16": what goes into and comes out of the products of Convolution layers of 64 outputs
      or more is rounded to bfloat16's 7 bits; blobs, biases, scores (few outputs) and updates are
      float32. InputError on GPUs that do not multiply it (compute capability below 8.0), here or
      when such a GPU is chosen.

    The CPU multiplies in float32 whatever is chosen.
    """
    from . import device

    if name not in PRECISIONS:
        raise InputError(f"precision '{name}' is not one of {', '.join(PRECISIONS)}")
    if device.current().type == "cuda":
        check(name, device.current().index)
    _chosen["precision"] = name
    round_factors()


def chosen() -> str:
    """The name that was given to `set_precision`."""
    return _chosen["precision"]


def check(name: str, number: int) -> None:
    """InputError unless GPU `number` can multiply in this precision."""
    card = gpu_support.capability(number)
    if name == "bfloat16" and card is not None and card < gpu_support.BFLOAT16:
        raise InputError(
            f"GPU {number} ({torch.cuda.get_device_name(number)}) has compute capability "
            f"{card[0]}.{card[1]}; precision 'bfloat16' needs 8.0: choose 'float32'"
        )


def set_autotuning(on: bool) -> None:
    """Whether cuDNN tries its algorithms for each convolution at its first pass with an image
    size, and keeps the fastest for that size (default: no). It pays where sizes come again. Chosen
    before the first pass, it leaves out algorithms that want more than 512 MiB of workspace, or
    what `CUDNN_CONV_WSCAP_DBG` in the environment says, in MiB.

    InputError to turn it on where `set_deterministic` was: which is fastest is chance."""
    if on and determinism.is_on():
        raise InputError("autotuning chooses by chance: set_deterministic(False) first")
    if on:
        bound_workspace()
    torch.backends.cudnn.benchmark = bool(on)


def round_factors() -> None:
    """Let cuDNN and cuBLAS round factors, which cuDNN would by default, only if that is chosen.

    PyTorch has two ways to say so, and where a script has used the newer one, what the older one
    says is not heeded: both are told. The older one first, as it unsets the newer."""
    tf32 = chosen() == "tf32"
    backends = torch.backends
    backends.cudnn.allow_tf32 = backends.cuda.matmul.allow_tf32 = tf32
    products: list = [backends.cuda.matmul]
    products += [getattr(backends.cudnn, name, None) for name in ("conv", "rnn")]
    for product in products:
        if hasattr(product, "fp32_precision"):  # from PyTorch 2.9 on
            product.fp32_precision = "tf32" if tf32 else "ieee"


def rounds(tensor: torch.Tensor) -> bool:
    """Whether a convolution on this tensor's device is in bfloat16."""
    return chosen() == "bfloat16" and tensor.device.type == "cuda"
