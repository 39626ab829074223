"""How much memory cuDNN may take for itself while a convolution runs."""

from __future__ import annotations

import os

_CAP = "CUDNN_CONV_WSCAP_DBG"
"""cuDNN's own variable, which PyTorch's documentation lists among those of CUDA's libraries."""
_MEBIBYTES = 512


def bound_workspace() -> None:
    """Let no algorithm that cuDNN tries want more than 512 MiB beside the tensors, unless the
    environment says otherwise: `CUDNN_CONV_WSCAP_DBG`, in MiB. Autotuning takes the fastest
    algorithm whatever it needs, and the largest one counts, since the memory stays taken.

    cuDNN reads the variable when it is first used: call this before the first pass.
    """
    os.environ.setdefault(_CAP, str(_MEBIBYTES))
