"""What every field of the data layers' messages does; `field_rows` says what the rows mean."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import numpy as np

import caffe
from tests.engine.layers.field_rows import Layers, Pair
from tests.helpers import data_files as files

_FOLDER = Path(tempfile.mkdtemp(prefix="every-field-data-"))
atexit.register(shutil.rmtree, _FOLDER, True)
_PICTURES = [files.pixels(i, 12, 14) for i in range(6)]
_PLANES = [picture.transpose(2, 0, 1).copy() for picture in _PICTURES]
LIST = files.write_pictures(_FOLDER, _PICTURES)
(_FOLDER / "other.txt").write_text("".join(Path(LIST).read_text().splitlines(True)[::-1]))
(_FOLDER / "bare.txt").write_text("0.png 0\n1.png 1\n")
(_FOLDER / "half").mkdir()
files.write_pictures(_FOLDER / "half", _PICTURES[2:])
DB = files.lmdb_for_later(_FOLDER / "db", [files.datum(a, i) for i, a in enumerate(_PLANES)])
OTHER_DB = files.lmdb_for_later(_FOLDER / "other_db", [files.datum(a, 7) for a in _PLANES])
GRAY = files.pixels(9, 12, 14, 1)
ENCODED_DB = files.lmdb_for_later(_FOLDER / "encoded_db", [
    files.encoded_datum(files.encoded(GRAY + i)) for i in range(6)
])  # fmt: skip
COLOR_DB = files.lmdb_for_later(
    _FOLDER / "color_db", [files.encoded_datum(files.encoded(a)) for a in _PICTURES]
)
_SIZE = (12, 14)
_PLACES = [
    (2, 0.8, 1, 2, 8, 9),
    (1, 0.6, 2, 1, 10, 9),
    (1, 0.3, 5, 0, 13, 11),
    (0, 0.1, 0, 0, 7, 7),
]
WINDOWS = files.write_windows(_FOLDER / "windows.txt", [(_FOLDER / "0.png", _SIZE, _PLACES)])
OTHER_WINDOWS = files.write_windows(
    _FOLDER / "other_windows.txt", [(_FOLDER / "1.png", _SIZE, _PLACES)]
)
BARE_WINDOWS = files.write_windows(_FOLDER / "bare_windows.txt", [("0.png", _SIZE, _PLACES)])
MEAN = files.write_mean(_FOLDER / "mean.binaryproto", np.arange(3 * 12 * 14).reshape(3, 12, 14))
for _name, _shift in (("rows", 0), ("others", 5)):
    _file = files.write_hdf5(
        _FOLDER / f"{_name}.h5", data=np.arange(24).reshape(8, 3) + _shift, label=np.arange(8)
    )
    (_FOLDER / f"{_name}.txt").write_text(_file)
REMEDY = "write it in transform_param"


def in_transform_param(rows, common):
    """Rows for the fields that belong to the old layers' own messages."""
    texts = {
        "scale": "scale: 2",
        "mean_file": 'mean_file: "m"',
        "crop_size": "crop_size: 5",
        "mirror": "mirror: true",
    }
    return {name: rows.warn(f"{common} {text}", REMEDY, common) for name, text in texts.items()}


def data():
    rows = Layers("Data", "DataParameter", tops=2)
    common = f'source: "{DB}" backend: LMDB batch_size: 2'
    encoded = f'source: "{ENCODED_DB}" backend: LMDB batch_size: 2'
    return {
        **in_transform_param(rows, common),
        "source": rows.differ(common.replace(DB, OTHER_DB), common),
        "batch_size": [
            rows.differ(common.replace("size: 2", "size: 3"), common),
            rows.refuse(common.replace("size: 2", "size: 0"), "batch_size is not given"),
        ],
        "rand_skip": rows.differ(f"{common} rand_skip: 4", common),
        "backend": rows.refuse(common.replace("LMDB", "LEVELDB"), "is an LMDB"),
        "force_encoded_color": rows.differ(f"{encoded} force_encoded_color: true", encoded),
        "prefetch": [
            rows.alike("how far is read ahead changes no batch", f"{common} prefetch: 1", common),
            rows.refuse(f"{common} prefetch: 0", "at least 1 batch"),
        ],
    }


def image_data():
    rows = Layers("ImageData", "ImageDataParameter", tops=2)
    common = f'source: "{LIST}" batch_size: 2'
    bare = f'source: "{_FOLDER}/bare.txt" batch_size: 2'
    return {
        **in_transform_param(rows, common),
        "source": rows.differ(f'source: "{_FOLDER}/other.txt" batch_size: 2', common),
        "batch_size": rows.differ(common.replace("size: 2", "size: 3"), common),
        "rand_skip": rows.differ(f"{common} rand_skip: 4", common),
        "shuffle": rows.differ(f"{common} shuffle: true", common),
        **{
            name: [
                rows.differ(
                    f"{common} new_height: {7 + (name == 'new_height')} "
                    f"new_width: {7 + (name == 'new_width')}",
                    f"{common} new_height: 7 new_width: 7",
                ),
                rows.refuse(f"{common} {name}: 7", "have to be given together"),
            ]
            for name in ("new_height", "new_width")
        },
        "is_color": rows.differ(f"{common} is_color: false", common),
        "root_folder": rows.differ(
            f'{bare} root_folder: "{_FOLDER}/"', f'{bare} root_folder: "{_FOLDER}/half/"'
        ),
    }


def hdf5_data():
    rows = Layers("HDF5Data", "HDF5DataParameter", rest='top: "data" top: "label"', tops=2)
    common = f'source: "{_FOLDER}/rows.txt" batch_size: 4'
    return {
        "source": rows.differ(common.replace("rows", "others"), common),
        "batch_size": rows.differ(common.replace("size: 4", "size: 3"), common),
        "shuffle": rows.differ(f"{common} shuffle: true", common),
    }


def hdf5_output():
    rows = Layers("HDF5Output", "HDF5OutputParameter", (2, 3), (2, 1), tops=0)
    return {"file_name": rows.differ('file_name: "a.h5"', 'file_name: "b.h5"')}


def window_data():
    crop = "transform_param { crop_size: 8 }"
    rows = Layers("WindowData", "WindowDataParameter", rest=crop, tops=2)
    common = f'source: "{WINDOWS}" batch_size: 8'
    bare = f'source: "{BARE_WINDOWS}" batch_size: 8'
    changed = {
        "scale": "scale: 2",
        "fg_threshold": "fg_threshold: 0.7",
        "bg_threshold": "bg_threshold: 0.2",
        "fg_fraction": "fg_fraction: 0.5",
        "context_pad": "context_pad: 1",
        "crop_mode": 'crop_mode: "square"',
    }
    return {
        **in_transform_param(rows, common),
        **{name: rows.differ(f"{common} {text}", common) for name, text in changed.items()},
        "source": rows.differ(f'source: "{OTHER_WINDOWS}" batch_size: 8', common),
        "batch_size": rows.differ(common.replace("size: 8", "size: 4"), common),
        "cache_images": rows.alike(
            "pictures are the same from memory", f"{common} cache_images: true", common
        ),
        "root_folder": rows.differ(
            f'{bare} root_folder: "{_FOLDER}/"', f'{bare} root_folder: "{_FOLDER}/half/"'
        ),
    }


def transformation():
    source = f'source: "{DB}" backend: LMDB batch_size: 6'
    memory = "batch_size: 2 channels: 1 height: 1 width: 1"
    rest = {
        "Data": f"data_param {{ {source} }}",
        "ImageData": f'image_data_param {{ source: "{LIST}" batch_size: 6 }}',
        "WindowData": f'window_data_param {{ source: "{WINDOWS}" batch_size: 8 }}',
        "HDF5Data": f'hdf5_data_param {{ source: "{_FOLDER}/rows.txt" batch_size: 4 }} '
        'top: "data" top: "label"',
        "MemoryData": f"memory_data_param {{ {memory} }}",
    }
    by_layer = {
        kind: Layers(
            kind, "TransformationParameter", rest=text, tops=2, phase=caffe.TRAIN,
            common="crop_size: 8" if kind == "WindowData" else "",
        )
        for kind, text in rest.items()
    }  # fmt: skip
    untransformed = Layers("MemoryData", "MemoryDataParameter", tops=2).one(memory)
    window = Layers("WindowData", "TransformationParameter", rest=rest["WindowData"], tops=2)
    texts = {
        "mirror": "mirror: true",
        "mean_file": f'mean_file: "{MEAN}"',
        "mean_value": "mean_value: 9",
        "scale": "scale: 2",
        "crop_size": "crop_size: 5",
        "force_color": "force_color: true",
        "force_gray": "force_gray: true",
    }
    no_effect = {"scale", "force_color", "force_gray"}
    found = {}
    for name, text in texts.items():
        hdf5 = by_layer["HDF5Data"].refuse(text, "leave transform_param out")
        warned = Pair(untransformed, by_layer["MemoryData"].one(text))  # in the log
        found[name] = [hdf5, warned]
        kinds = ["Data", "ImageData"] if name not in ("force_color", "force_gray") else []
        found[name] += [by_layer[kind].differ(text) for kind in kinds]
        if name == "crop_size":
            found[name].append(window.differ("crop_size: 8", "crop_size: 9"))
        elif name in no_effect:
            found[name].append(by_layer["WindowData"].warn(text, "has no effect"))
        else:
            found[name].append(by_layer["WindowData"].differ(text))
    for name, path in (("force_color", ENCODED_DB), ("force_gray", COLOR_DB)):
        source = f'data_param {{ source: "{path}" backend: LMDB batch_size: 2 }}'
        rows = Layers("Data", "TransformationParameter", rest=source, tops=2)
        found[name] += [
            rows.differ(texts[name]),
            by_layer["ImageData"].warn(texts[name], "write is_color"),
        ]
    return found


TABLE = {
    "DataParameter": data,
    "ImageDataParameter": image_data,
    "HDF5DataParameter": hdf5_data,
    "HDF5OutputParameter": hdf5_output,
    "WindowDataParameter": window_data,
    "TransformationParameter": transformation,
}
