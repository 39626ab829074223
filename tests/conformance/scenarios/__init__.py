"""What is run under both caffes: functions (args, arrays) -> results, by name.

`args` is plain JSON, `arrays` NumPy arrays; results are a dict of arrays and plain values, in an
order that counts. A scenario runs in a process and an empty folder of its own, which is also its
current folder. Only `import caffe` and NumPy, Python >= 3.9, NumPy >= 1.19.
"""

from __future__ import annotations

from . import data, models, nets, published, pycaffe, recurrent, training


def find(name):
    """The scenario of that name."""
    return next(
        getattr(m, name)
        for m in (nets, training, published, recurrent, data, pycaffe, models)
        if hasattr(m, name)
    )
