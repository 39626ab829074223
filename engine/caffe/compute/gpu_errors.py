"""What PyTorch raises where a GPU is out of memory or fails, as one line with a remedy."""

from __future__ import annotations

import functools

import torch

from ..errors import Error

_OUT_OF_MEMORY = getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError)
_ACCELERATOR = getattr(torch, "AcceleratorError", ())  # from PyTorch 2.8 on
_NO_ENGINE = "unable to find an engine"  # what cuDNN gives as the reason where memory is short
_FAILURES = (
    "CUDA error", "CUDA driver error", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS", "NCCL error",
    _NO_ENGINE,
)  # fmt: skip
# cuDNN and cuBLAS ask for memory of their own.
_STARVED = ("out of memory", "ALLOC_FAILED", _NO_ENGINE)
_LESS = (
    "take smaller images (a crop) or a smaller batch, caffe.engine.set_lean(True) before the net "
    "is made, caffe.engine.recompute for its largest blobs, or another GPU"
)


def gpu_error(error: BaseException):
    """The Error, one line with a remedy, for what PyTorch raises where a GPU is out of memory or
    fails; None for any other exception. Snapshots that were written before are good."""
    if not isinstance(error, RuntimeError) or isinstance(error, Error):
        return None
    text = " ".join(str(error).split())
    failed = isinstance(error, _ACCELERATOR) or any(words in text for words in _FAILURES)
    if isinstance(error, _OUT_OF_MEMORY) or (failed and any(words in text for words in _STARVED)):
        about = text.partition("If reserved but unallocated")[0].partition(" See documentation")[0]
        remedy = _LESS
        if _NO_ENGINE in text and torch.are_deterministic_algorithms_enabled():
            remedy += "; or caffe.engine.set_deterministic(False): cuDNN may have no such algorithm"
        return Error(f"the GPU is out of memory: {remedy} ({about.strip()})")
    if "no kernel image" in text:
        return Error(f"this PyTorch has no code for this GPU: install another build ({text})")
    if failed:
        about = text.partition(" CUDA kernel errors might be")[0].partition(" For debugging")[0]
        return Error(
            f"the GPU failed, and this process can use it no more: {about}; start again, from the "
            "newest snapshot (CUDA_LAUNCH_BLOCKING=1 in the environment shows where it fails)"
        )
    return None


def named_gpu_errors(method):
    """Decorator: what PyTorch raises of a GPU becomes an `Error`."""

    @functools.wraps(method)
    def named(*args, **more):
        try:
            return method(*args, **more)
        except RuntimeError as error:
            told = gpu_error(error)
            if told is None:
                raise
            raise told from error

    return named
