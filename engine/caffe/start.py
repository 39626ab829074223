"""What comes before every import."""

from __future__ import annotations

import os
import sys


def leave_working_folder() -> None:
    """Under `python -m caffe`, take the folder that the process stands in off Python's path, unless
    the engine lies there: a file `numpy.py` in a download would be run in NumPy's place."""
    words = getattr(sys, "orig_argv", [])  # from Python 3.10 on
    if sys.argv[:1] != ["-m"] or "caffe" not in words or words[words.index("caffe") - 1] != "-m":
        return
    engine = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if sys.path and sys.path[0] == os.getcwd() != engine:
        del sys.path[0]
