"""What is fuzzed: for each kind of file, valid small seeds and the project's reader.

A reader takes one input's bytes and returns where they are read; where they are refused it raises
the reader's own error. Everything else that comes out of it is a bug.
"""

from __future__ import annotations

import functools
import io
import os
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
from segmentation.lists import read_split
from segmentation.mat import read_mat
from segmentation.params import DataError
from segmentation.pictures import read_label, read_rgb

from caffe import io as caffe_io
from caffe.errors import Error, InputError
from caffe.layers.data import _Datums
from caffe.layers.image_data import read_list
from caffe.proto import caffe_pb2, encoding, hdf5, text, wire
from caffe.reading import images, pixels
from caffe.reading.data_transformer import Transformer, read_mean
from prototxt import own, text as toolkit_text
from prototxt.errors import InputError as InputErrorOfToolkit
from surgery.errors import SurgeryError
from surgery.importers import read_source
from tests.fuzz import mutations

ROOT = Path(__file__).resolve().parents[2]
_ARRAYS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32([7, 8]), np.float32(3)]
_LONGEST_MESSAGE = 2100
REFUSALS = (Error, DataError, InputErrorOfToolkit, SurgeryError)
"""The errors by which readers say what is wrong with a file."""


class Target(NamedTuple):
    """A kind of file: `seeds(folder)` are valid ones, `read(data, path)` reads one input."""

    seeds: Callable[[Path], list]
    read: Callable[[bytes, str], None]
    mutations: tuple


def outcome(target: Target, data: bytes, path: str) -> str:
    """ "read" or "refused"; whatever else the reader raises comes through."""
    try:
        target.read(data, path)
    except REFUSALS as error:
        message = str(error)
        if "\n" in message or len(message) > _LONGEST_MESSAGE:
            raise AssertionError(f"not one line: {message[:200]!r}, {len(message)} long") from None
        return "refused"
    return "read"


def _file(read):
    """A reader of a path, given bytes."""

    def reader(data: bytes, path: str) -> None:
        with open(path, "wb") as file:
            file.write(data)
        read(path)

    return reader


def _made(name: str, write):
    """The bytes of the file that `write(path)` makes."""

    def seed(folder: Path) -> bytes:
        path = folder / name
        write(path)
        return path.read_bytes()

    return seed


# -- texts --------------------------------------------------------------------------------------

_OLD_NETS = (
    b'name: "v1" input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n'
    b'layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1 blobs_lr: 2\n'
    b"weight_decay: 1 convolution_param { num_output: 4 kernel_size: 3 } }\n",
    b'name: "v0" layers { layer { name: "p" type: "padding" pad: 1 } bottom: "d" top: "p" }\n'
    b'layers { layer { name: "c" type: "conv" num_output: 2 kernelsize: 3 stride: 2\n'
    b'weight_filler { type: "gaussian" std: 0.01 } } bottom: "p" top: "c" }\n'
    b'layers { layer { name: "x" type: "data" source: "db" meanfile: "m" batchsize: 2 } }\n',
)
_NET = b"""name: "net" # comment
layer { name: 'd' type: "Input" top: "d" input_param { shape { dim: [1, 3, 8, 8] } } }
layer { name: "c" type: "Convolution" bottom: "d" top: "c" param { lr_mult: 1 } param { }
  convolution_param { num_output: 4 pad: 1 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "n" type: "BatchNorm" bottom: "c" top: "n" param {} param {} param {} }
layer { name: "p" type: "Pooling" bottom: "n" top: "p" pooling_param { pool: MAX kernel_size: 2 } }
layer { name: "l" type: "SoftmaxWithLoss" bottom: "p" top: "l" include { phase: TRAIN min_level: 1 }
  loss_param { ignore_label: 255 normalize: false } loss_weight: 1.5e0 propagate_down: true }
"""
_SOLVERS = [
    b'net: "n.prototxt"\ntest_iter: 10 test_iter: 5\nbase_lr: 1e-4\nlr_policy: "step" gamma: .1\n'
    b'stepsize: 10 momentum: 0.9\nsnapshot: 100\nsnapshot_prefix: "s"\nsolver_mode: GPU\n',
    b"solver_type: ADAM base_lr: 0.1f delta: 1e-8 random_seed: -1 snapshot_format: HDF5\n"
    b'net_param { layers { name: "r" type: RELU bottom: "a" top: "a" } } test_state { stage: "x" }',
]


def _net_seeds(folder) -> list[bytes]:
    return [_NET, *_OLD_NETS]


def _solver_seeds(folder) -> list[bytes]:
    return list(_SOLVERS)


# -- protobuf -----------------------------------------------------------------------------------


def _caffemodel_seeds(folder) -> list[bytes]:
    net = caffe_pb2.NetParameter(name="n")
    for name, kind in (("data", "Input"), ("fc", "InnerProduct"), ("s", "Scale")):
        net.layer.add(name=name, type=kind, bottom=["a"], top=["b"])
    blobs = [[], _ARRAYS[:2], _ARRAYS[2:]]
    old = caffe_pb2.NetParameter()
    layer = old.layers.add(name="c", type=caffe_pb2.V1LayerParameter.CONVOLUTION)
    layer.blobs.add(num=1, channels=1, height=2, width=2, data=[1, 2, 3, 4], diff=[0] * 4)
    first = old.layers.add(bottom=["x"]).layer
    first.name, first.type = "f", "innerproduct"
    first.blobs.add(double_data=[1, 2], shape={"dim": [2]})
    unpacked = b"".join(b"\x2d" + b.tobytes() for b in np.arange(40, dtype="<f4"))
    blob = unpacked + encoding.encode_bytes(7, encoding.encode_bytes(1, b"\x05\x08"))
    plain = encoding.encode_bytes(100, encoding.encode_bytes(7, blob))
    write = _made("m", lambda path: wire.write_net(path, net, blobs, blobs))
    halves = _made("h", lambda path: wire.write_float16(path, {"fc": _ARRAYS}))
    return [write(folder), old.SerializeToString(), plain, halves(folder)]


def _read_caffemodel(path: str) -> None:
    wire.read_weights(path)
    wire.read_diffs(path)


def _solverstate_seeds(folder) -> list[bytes]:
    write = _made("s", lambda path: wire.write_solverstate(path, 5, "m.caffemodel", _ARRAYS, 2))
    return [write(folder), caffe_pb2.SolverState(iter=1, learned_net="x").SerializeToString()]


def _mean_seeds(folder) -> list[bytes]:
    plain = caffe_pb2.BlobProto(num=1, channels=3, height=4, width=5, data=range(60))
    shaped = caffe_pb2.BlobProto(shape={"dim": [1, 2, 2, 2]}, double_data=range(8))
    return [plain.SerializeToString(), shaped.SerializeToString()]


def _blobproto_seeds(folder) -> list[bytes]:
    vectors = [caffe_io.arraylist_to_blobprotovector_str(_ARRAYS)]
    vector = caffe_pb2.BlobProtoVector()
    for seed in _mean_seeds(folder):
        vector.blobs.add().MergeFromString(seed)
    return [*vectors, vector.SerializeToString()]


def _read_blobprotos(data: bytes, path: str) -> None:
    caffe_io.blobprotovector_str_to_arraylist(data)


def _encoded(size: tuple[int, int], format: str, **more) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    pixels = np.random.RandomState(0).randint(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, format, **more)
    return file.getvalue()


def _datum_seeds(folder) -> list[bytes]:
    size = {"channels": 3, "height": 4, "width": 5}
    datums = [
        caffe_pb2.Datum(data=bytes(60), label=3, **size),
        caffe_pb2.Datum(float_data=range(60), **size),
        caffe_pb2.Datum(data=_encoded((6, 7), "PNG"), encoded=True, label=1),
        caffe_pb2.Datum(data=_encoded((6, 7), "JPEG"), encoded=True),
    ]
    return [datum.SerializeToString() for datum in datums]


@functools.cache
def _datum_source() -> _Datums:
    """The Data layer's source of items, without a database behind it."""
    source = _Datums.__new__(_Datums)
    source.fail = lambda message: InputError(f"layer 'd': {message}")
    source.database = type("Named", (), {"source": "db"})
    source.transform = Transformer(caffe_pb2.TransformationParameter(scale=0.5), 1, source.fail)
    source.complained = False
    return source


def _read_datum(data: bytes, path: str) -> None:
    source = _datum_source()
    picture, _ = source.picture(b"0", data)
    source.transform(picture, np.empty(source.transform.shape(picture.shape), np.float32))
    datum = caffe_pb2.Datum.FromString(data)
    if not datum.encoded:
        caffe_io.datum_to_array(datum)


# -- HDF5 ---------------------------------------------------------------------------------------


def _compressed(path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        values = np.arange(600, dtype=np.float32).reshape(20, 30)
        group = file.create_group("data/ip")
        group.create_dataset("0", data=values, compression="gzip", chunks=(10, 10), shuffle=True)


def _hdf5_model_seeds(folder) -> list[bytes]:
    layers = [("data", []), ("ip", _ARRAYS[:2]), ("block/scale", _ARRAYS[2:])]
    plain = _made("m.h5", lambda path: hdf5.write_weights_hdf5(path, layers))
    return [plain(folder), _made("c.h5", _compressed)(folder)]


def _hdf5_state_seeds(folder) -> list[bytes]:
    def write(path):
        hdf5.write_solverstate_hdf5(path, 5, "m.caffemodel.h5", _ARRAYS[:2], 2)

    return [_made("s.h5", write)(folder)]


# -- pretrained weights of other programs ---------------------------------------------------------


def _import(ending: str):
    """A reader of surgery's sources, whose files are told apart by their endings too."""

    def read(data: bytes, path: str) -> None:
        _file(lambda path: read_source(path, (104, 117, 123)))(data, f"{path}.{ending}")

    return read


def _vgg() -> dict[str, np.ndarray]:
    state = {}
    for index, (outputs, inputs) in ((0, (4, 3)), (2, (2, 4)), (5, (3, 2))):
        values = np.arange(outputs * inputs * 9, dtype=np.float32)
        state[f"features.{index}.weight"] = values.reshape(outputs, inputs, 3, 3)
        state[f"features.{index}.bias"] = np.arange(outputs, dtype=np.float32)
    state["classifier.0.weight"] = np.ones((2, 147), np.float32)
    state["classifier.0.bias"] = np.ones(2, np.float32)
    return state


def _hed_seeds(folder) -> list[bytes]:
    import h5py

    def write(path, **more):
        with h5py.File(path, "w") as file:
            for stage, inputs in ((1, 3), (2, 4)):
                values = file.create_group(f"block{stage}/layers/conv2d/vars")
                kernel = np.arange(36 * inputs, dtype=np.float32).reshape(3, 3, inputs, 4)
                values.create_dataset("0", data=kernel, **more)
                values["1"] = np.zeros(4, np.float32)

    packed = _made("p.h5", lambda path: write(path, compression="gzip", chunks=(3, 3, 3, 4)))
    return [_made("h.h5", write)(folder), packed(folder), *_hdf5_model_seeds(folder)]


def _pth_seeds(folder) -> list[bytes]:
    import torch

    state = {key: torch.from_numpy(array) for key, array in _vgg().items()}
    halves = {key: tensor.half() for key, tensor in state.items()}
    old = _made("o", lambda path: torch.save(state, path, _use_new_zipfile_serialization=False))
    new = _made("n", lambda path: torch.save({"state_dict": state}, path))
    return [new(folder), old(folder), _made("h", lambda path: torch.save(halves, path))(folder)]


def _safetensors_seeds(folder) -> list[bytes]:
    from safetensors.numpy import save

    return [save(_vgg()), save({k: v.astype(np.float16) for k, v in _vgg().items()})]


# -- the data layers' files -----------------------------------------------------------------------


def _mat5_seeds(folder) -> list[bytes]:
    from scipy.io import savemat

    labels = np.arange(30, dtype=np.uint8).reshape(5, 6)
    plain = {"GTcls": {"Boundaries": np.zeros(2), "Segmentation": labels}}
    write = _made("m", lambda path: savemat(path, plain, appendmat=False))
    packed = _made("p", lambda path: savemat(path, plain, appendmat=False, do_compression=True))
    return [write(folder), packed(folder)]


def _mat73_seeds(folder) -> list[bytes]:
    import h5py

    def write(path, **more):
        with h5py.File(path, "w", userblock_size=512) as file:
            values = np.arange(600, dtype=np.uint8).reshape(20, 30)
            file.create_dataset("GTcls/Segmentation", data=values, **more)
        with open(path, "r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")

    packed = _made("p", lambda path: write(path, compression="gzip", chunks=(10, 10)))
    return [_made("m", write)(folder), packed(folder)]


def _read_mat(path: str) -> None:
    read_mat(path, "GTcls", "Segmentation")


def _picture_seeds(folder) -> list[bytes]:
    found = [_encoded((12, 9), format) for format in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")]
    return [*found, _encoded((40, 30), "JPEG", progressive=True)]


def _read_picture(path: str) -> None:
    """By every reader: the engine's, pycaffe's and the data layers'. All may refuse it."""
    errors = []
    for read in (functools.partial(images.read, channels=images.COLOR), pixels.read, read_rgb):
        try:
            read(path)
        except REFUSALS as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _label_seeds(folder) -> list[bytes]:
    from PIL import Image

    gray = Image.fromarray(np.arange(30, dtype=np.uint8).reshape(5, 6))
    palette = gray.copy()
    palette.putpalette(bytes(range(96)))
    files = []
    for image in (gray, palette):
        files.append(io.BytesIO())
        image.save(files[-1], "PNG")
    return [file.getvalue() for file in files]


def _list_seeds(folder) -> list[bytes]:
    return [b"2007_000032\n2007_000039\nfolder/a b\n", b"\xef\xbb\xbf0001TP\r\n0002TP\r\n"]


def _read_list(path: str) -> None:
    """By the data layers, and by ImageData."""
    errors = []
    try:
        read_split(path)
    except DataError as error:
        errors.append(error)
    read_list(path, InputError, lambda text: None)
    if errors:
        raise errors[0]


def _toml_seeds(folder) -> list[bytes]:
    return [(ROOT / "prototxt" / "examples" / name).read_bytes()
            for name in sorted(os.listdir(ROOT / "prototxt" / "examples"))
            if name.endswith(".toml")]  # fmt: skip


def _read_toolkit_prototxt(path: str) -> None:
    toolkit_text.read(path, caffe_pb2.NetParameter())


TARGETS = {
    "net-prototxt": Target(_net_seeds, _file(text.read_net), mutations.TEXT),
    "solver-prototxt": Target(_solver_seeds, _file(text.read_solver), mutations.TEXT),
    "caffemodel": Target(_caffemodel_seeds, _file(_read_caffemodel), mutations.BINARY),
    "solverstate": Target(_solverstate_seeds, _file(wire.read_solverstate), mutations.BINARY),
    "mean-binaryproto": Target(_mean_seeds, _file(read_mean), mutations.BINARY),
    "blobproto-vector": Target(_blobproto_seeds, _read_blobprotos, mutations.BINARY),
    "datum": Target(_datum_seeds, _read_datum, mutations.BINARY),
    "caffemodel-h5": Target(_hdf5_model_seeds, _file(hdf5.read_weights_hdf5), mutations.STRUCTURED),
    "solverstate-h5": Target(
        _hdf5_state_seeds, _file(hdf5.read_solverstate_hdf5), mutations.STRUCTURED
    ),
    "hed": Target(_hed_seeds, _import("h5"), mutations.STRUCTURED),
    "pth": Target(_pth_seeds, _import("pth"), mutations.STRUCTURED),
    "safetensors": Target(_safetensors_seeds, _import("safetensors"), mutations.STRUCTURED),
    "mat5": Target(_mat5_seeds, _file(_read_mat), mutations.STRUCTURED),
    "mat73": Target(_mat73_seeds, _file(_read_mat), mutations.STRUCTURED),
    "picture": Target(_picture_seeds, _file(_read_picture), mutations.STRUCTURED),
    "label": Target(_label_seeds, _file(read_label), mutations.STRUCTURED),
    "list": Target(_list_seeds, _file(_read_list), mutations.TEXT),
    "toml": Target(_toml_seeds, _file(own.read_toml), mutations.TEXT),
    "toolkit-prototxt": Target(_net_seeds, _file(_read_toolkit_prototxt), mutations.TEXT),
}


def folder_for_files() -> str | None:
    """Where inputs are written: memory, where the system has such a folder."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
