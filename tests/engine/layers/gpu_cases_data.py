"""The layers that read data, on the GPU; see test_layers_on_gpu.py."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import numpy as np

import caffe
from tests.helpers import data_files as files

_FOLDER = Path(tempfile.mkdtemp(prefix="gpu-cases-"))
atexit.register(shutil.rmtree, _FOLDER, True)
_PICTURES = [files.pixels(i, 12, 14) for i in range(3)]
_LIST = files.write_pictures(_FOLDER, _PICTURES)
_DB = files.lmdb_for_later(
    _FOLDER / "db", [files.datum(a.transpose(2, 0, 1).copy(), i) for i, a in enumerate(_PICTURES)]
)
_WINDOWS = files.write_windows(
    _FOLDER / "windows.txt",
    [(_FOLDER / "0.png", (12, 14), [(2, 0.8, 1, 2, 8, 9), (1, 0.1, 5, 0, 13, 11)])],
)
_ROWS = files.write_hdf5(_FOLDER / "rows.h5", data=np.ones((5, 2, 3)), label=np.arange(5))
(_FOLDER / "rows.txt").write_text(_ROWS)
_RANDOM = "transform_param { crop_size: 7 mirror: true mean_value: 9 scale: 0.5 }"
_TRAINING = {"tops": 2, "phase": caffe.TRAIN}

CASES = [
    ("Data", f'data_param {{ source: "{_DB}" backend: LMDB batch_size: 2 }}', [], {"tops": 1}),
    (
        "Data",
        f'data_param {{ source: "{_DB}" backend: LMDB batch_size: 2 }} {_RANDOM}',
        [],
        _TRAINING,
    ),
    (
        "HDF5Data",
        f'top: "data" top: "label" hdf5_data_param {{ source: "{_FOLDER}/rows.txt" batch_size: 3 '
        "shuffle: true }",
        [],
        {"tops": 2},
    ),
    (
        "ImageData",
        f'image_data_param {{ source: "{_LIST}" batch_size: 4 shuffle: true new_height: 9 '
        f"new_width: 20 }} {_RANDOM}",
        [],
        _TRAINING,
    ),
    (
        "WindowData",
        f'window_data_param {{ source: "{_WINDOWS}" batch_size: 4 context_pad: 1 }} '
        "transform_param { crop_size: 8 mirror: true }",
        [],
        _TRAINING,
    ),
]

# MemoryData needs its arrays first, and HDF5Output has to wait for what it writes:
# test_memory_data_layer.py and test_hdf5_data_layers.py run them.
ELSEWHERE = {"HDF5Output", "MemoryData"}
