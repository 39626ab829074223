from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image

import caffe
from caffe.engine import InputError
from caffe.proto import caffe_pb2, hdf5, kinds, wire
from caffe.reading.data_transformer import read_mean
from tests.helpers.net_texts import data, ip, layer

NET = data(2, 3) + ip("ip", "data", 4)
SOLVER = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed"\nmax_iter: 1\n'


def written(write) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def picture(format):
    return written(lambda stream: Image.new("RGB", (3, 4)).save(stream, format))


def archive(stream):
    with tarfile.open(fileobj=stream, mode="w") as file:
        file.addfile(tarfile.TarInfo("x.caffemodel"))


def zipped(stream):
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("x.caffemodel", b"x")


def weights_hdf5(stream):
    with h5py.File(stream, "w") as file:
        file["data/ip/0"] = np.ones((4, 3), np.float32)
        file["data/ip/1"] = np.ones(4, np.float32)


def state_hdf5(stream):
    with h5py.File(stream, "w") as file:
        file["iter"], file["current_step"], file["learned_net"] = 1, 0, np.bytes_(b"x")
        file.create_group("history")


def keras_hdf5(stream):
    with h5py.File(stream, "w") as file:
        file["model_weights/dense/kernel"] = np.ones(3)


def message(kind, **fields):
    made = getattr(caffe_pb2, kind)(**fields)
    if kind == "NetParameter":
        made.layer.add(name="ip", type="InnerProduct")
    elif kind == "SolverState":
        made.history.add(data=[1, 2])
    return made.SerializeToString()


STATE_OF_NDARRAY = {"a": np.ones(3)}
TENSORS = {"a": torch.ones(3)}
ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.1.0\x3a\x04\x12\x02ab\x42\x02\x10\x11"
NODE = b"\x0a\x09\x0a\x01a\x12\x04Relu"
SAFETENSORS = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'

FILES = {
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n",
            "Git LFS pointer", "git lfs pull"),
    "page": (b"\n <!DOCTYPE html>\n<html>", "a web page", "download the file itself"),
    "page without a head": (b"<HTML><body>404", "a web page", ""),
    "error of a server": (b'<?xml version="1.0"?><Error/>', "an XML document", "server's message"),
    "answer of a server": (b'{"message": "Not Found"}', "a JSON text", "server's message"),
    "words": (b"404: Not Found", "begins '404: Not Found'", ""),
    "blanks": (b" \n\n", "nothing but blanks", ""),
    "zip": (written(zipped), "a zip archive", "unpack it"),
    "npz": (written(lambda s: np.savez(s, a=np.ones(3))), "NumPy arrays (.npz)", "numpy.load"),
    "npy": (written(lambda s: np.save(s, np.ones(3))), "a NumPy array", "numpy.load"),
    "pth": (written(lambda s: torch.save(TENSORS, s)), "a PyTorch file", "convert"),
    "old pth": (written(lambda s: torch.save(TENSORS, s, _use_new_zipfile_serialization=False)),
                "a PyTorch file", "convert"),
    **{f"pickle {p}": (pickle.dumps(STATE_OF_NDARRAY, p), "a Python pickle", "it runs code")
       for p in range(6)},
    "pickled list": (pickle.dumps([1, "a"], 0), "a Python pickle", ""),
    "gzip": (gzip.compress(b"x"), "a gzip archive", "unpack it first"),
    "bzip2": (bz2.compress(b"x"), "a bzip2 archive", "unpack it first"),
    "xz": (lzma.compress(b"x"), "an xz archive", "unpack it first"),
    "tar": (written(archive), "a tar archive", "unpack it first"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\0x", "a Zstandard archive", "unpack it first"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\x04", "a 7-Zip archive", "unpack it first"),
    "safetensors": (len(SAFETENSORS).to_bytes(8, "little") + SAFETENSORS + bytes(4),
                    "a safetensors file", "convert"),
    "PDF": (b"%PDF-1.7\n%\xe2", "a PDF document", ""),
    "onnx": (ONNX, "an ONNX model", "convert"),
    "TensorFlow": (NODE * 3, "a TensorFlow graph", "convert"),
    "Keras": (written(keras_hdf5), "", ""),
    "MATLAB": (b"MATLAB 5.0 MAT-file, Platform".ljust(130, b"\0"), "a MATLAB file", ""),
    "LMDB": (bytes(16) + b"\xde\xc0\xef\xbe" + bytes(50), "the data file of an LMDB", "folder"),
    "program": (b"\x7fELF\x02\x01", "a program", ""),
    "HEIF": (b"\0\0\0\x18ftypheic\0\0", "HEIF", "JPEG or PNG"),
    "UTF-16": (NET.encode("utf-16"), "text in UTF-16", "UTF-8"),
    "UTF-16 without a mark": (NET.encode("utf-16-le"), "text in UTF-16", "UTF-8"),
    "UTF-16, high byte first": (NET.encode("utf-16-be"), "text in UTF-16", "UTF-8"),
    **{format: (picture(format), f"a picture ({format})", "")
       for format in ("PNG", "JPEG", "GIF", "BMP", "TIFF")},
    "WebP": (b"RIFF\x1a\0\0\0WEBPVP8L", "a picture (WEBP)", ""),
    "net": (NET.encode(), "a net's prototxt", ""),
    "old net": (b"# old\nlayers {\n  type: RELU\n}\n", "a net's prototxt", ""),
    "solver": (SOLVER.encode(), "a solver's prototxt", ""),
    "caffemodel": (message("NetParameter", name="n"), "a caffemodel", "weights"),
    "unnamed caffemodel": (message("NetParameter"), "a caffemodel", "weights"),
    "old caffemodel": (caffe_pb2.NetParameter(name="o", layers=[{"name": "l"}]).SerializeToString(),
                       "a caffemodel", "weights"),
    "solverstate": (message("SolverState", iter=5, learned_net="s_iter_5.caffemodel"),
                    "a solverstate", ".caffemodel beside it"),
    "mean_file": (message("BlobProto", num=1, channels=3, height=1, width=1, data=[1, 2, 3]),
                  "a single BlobProto", ""),
    "Datum": (message("Datum", channels=1, height=1, width=1, data=b"a"), "a Datum", ""),
    "HDF5": (written(weights_hdf5), "", ""),
    "HDF5 solverstate": (written(state_hdf5), "", ""),
}  # fmt: skip


def refusal(read, path):
    """The one line with which `read(path)` refuses the file."""
    with pytest.raises(InputError) as error:
        read(path)
    text = str(error.value)
    assert path.name in text and "\n" not in text and "wire type" not in text
    return text


def put(tmp_path, content, name="file.x"):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


READERS = {
    "weights": (wire.read_weights, ("caffemodel", "unnamed caffemodel", "old caffemodel")),
    "solverstate": (wire.read_solverstate, ("solverstate",)),
    "mean_file": (read_mean, ("mean_file",)),
    "HDF5 weights": (hdf5.read_weights_hdf5, ()),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", [name for name, (_, words, _) in FILES.items() if words])
def test_a_reader_names_what_it_was_given_instead(tmp_path, reader, name):
    read, its_own = READERS[reader]
    content, words, remedy = FILES[name]
    if name in its_own:
        pytest.skip("this is what it reads")
    text = refusal(read, put(tmp_path, content))
    assert words in text and remedy in text


@pytest.mark.parametrize("name", ["HDF5", "HDF5 solverstate", "Keras"])
@pytest.mark.parametrize("reader", ["weights", "solverstate", "mean_file"])
def test_hdf5_is_named_where_a_message_is_read(tmp_path, reader, name):
    assert "an HDF5 file" in refusal(READERS[reader][0], put(tmp_path, FILES[name][0]))


def test_hdf5_weights_and_solverstate_are_told_apart(tmp_path):
    weights, state = (put(tmp_path, FILES[n][0], n) for n in ("HDF5", "HDF5 solverstate"))
    assert "it is a solverstate, not weights" in refusal(hdf5.read_weights_hdf5, state)
    assert "it holds weights, not a solverstate" in refusal(hdf5.read_solverstate_hdf5, weights)
    keras = put(tmp_path, FILES["Keras"][0], "keras.h5")
    assert "a Keras model" in refusal(hdf5.read_weights_hdf5, keras)


def test_hdf5_of_a_data_set_is_told_so(tmp_path):
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["data"] = np.ones((2, 3))
    assert "of a data set" in refusal(hdf5.read_weights_hdf5, tmp_path / "rows.h5")


TEXTS = {"net", "old net", "solver", "words", "blanks"}


@pytest.mark.parametrize("name", sorted(set(FILES) - TEXTS))
def test_what_is_no_prototxt_is_named(tmp_path, name):
    content, words, _ = FILES[name]
    text = refusal(lambda path: caffe.Net(str(path), caffe.TEST), put(tmp_path, content))
    assert (words or "an HDF5 file") in text and "not a prototxt" in text


def test_a_solver_in_a_nets_place_and_the_reverse_are_named(tmp_path):
    solver, net = put(tmp_path, SOLVER.encode(), "s"), put(tmp_path, NET.encode(), "n")
    text = refusal(lambda path: caffe.Net(str(path), caffe.TEST), solver)
    assert "it is a solver's prototxt, not a net's" in text
    assert "it is a net's prototxt, not a solver's" in refusal(caffe.SGDSolver, net)


def test_a_solver_whose_net_is_not_indented_is_read(tmp_path):
    text = f'net_param {{\nname: "inner"\n{NET}}}\nbase_lr: 0.1 lr_policy: "fixed"'
    assert caffe.SGDSolver(put(tmp_path, text.encode())).net.name == "inner"


@pytest.mark.parametrize("name", ["LFS", "page", "gzip", "zip", "HDF5", "PNG", "caffemodel"])
@pytest.mark.parametrize(
    "kind, source, words",
    [
        ("ImageData", "image_data_param {{ source: '{}' batch_size: 1 }}", "a list of pictures"),
        ("HDF5Data", "hdf5_data_param {{ source: '{}' batch_size: 1 }}", "lists HDF5 files"),
        ("WindowData", "window_data_param {{ source: '{}' batch_size: 1 }} "
         "transform_param {{ crop_size: 3 }}", "a list of windows"),
    ],
)  # fmt: skip
def test_what_is_no_list_is_named(tmp_path, make, kind, source, words, name):
    path = put(tmp_path, FILES[name][0])
    more = source.format(path)
    with pytest.raises(InputError) as error:
        make(layer("d", kind, top=["data", "label"], more=more))
    text = str(error.value)
    assert path.name in text and (FILES[name][1] or "an HDF5 file") in text and words in text


@pytest.mark.parametrize("name", ["LFS", "page", "gzip", "npy", "caffemodel"])
def test_what_lies_in_a_listed_files_place_is_named(tmp_path, make, name):
    path = put(tmp_path, FILES[name][0])
    put(tmp_path, f"{path} 0\n".encode(), "pictures.txt")
    put(tmp_path, f"{path}\n".encode(), "arrays.txt")
    for kind, param in (("ImageData", "image_data_param"), ("HDF5Data", "hdf5_data_param")):
        source = "pictures.txt" if kind == "ImageData" else "arrays.txt"
        with pytest.raises(InputError) as error:
            make(layer("d", kind, top=["data", "label"],
                       more=f"{param} {{ source: '{source}' batch_size: 1 }}"))  # fmt: skip
        assert path.name in str(error.value) and FILES[name][1] in str(error.value)
    with pytest.raises(InputError, match=path.name) as error:
        caffe.io.load_image(path)
    assert FILES[name][1] in str(error.value)


def database(source, backend):
    more = f"data_param {{ source: '{source}' backend: {backend} batch_size: 1 }}"
    return layer("d", "Data", top=["data", "label"], more=more)


@pytest.mark.parametrize("backend, file", [("LMDB", "data.mdb"), ("LEVELDB", "CURRENT")])
def test_a_pointer_in_a_databases_folder_is_named(tmp_path, make, backend, file):
    pytest.importorskip("lmdb" if backend == "LMDB" else "plyvel")
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / file).write_bytes(FILES["LFS"][0])
    with pytest.raises(InputError, match=f"{file}: it is a Git LFS pointer"):
        make(database("db", backend))
    (tmp_path / "db" / file).unlink()
    with pytest.raises(InputError, match=f"there is no {file} in it"):
        make(database("db", backend))


def test_the_file_of_an_lmdb_is_not_its_folder(tmp_path, make):
    put(tmp_path, FILES["LMDB"][0], "data.mdb")
    with pytest.raises(InputError, match="it is the data file of an LMDB, .*; name its folder"):
        make(database("data.mdb", "LMDB"))


def test_an_infogain_matrix_of_another_kind_is_named(tmp_path, make):
    put(tmp_path, FILES["npy"][0], "H.npy")
    text = data(2, 3) + data(2, name="label")
    more = 'infogain_loss_param { source: "H.npy" }'
    with pytest.raises(InputError, match="H.npy: it is a NumPy array .* not a BlobProto"):
        make(text + layer("loss", "InfogainLoss", ["data", "label"], more=more))


def test_a_pytorch_file_of_another_kind_is_named(tmp_path):
    for name in ("LFS", "page", "npy", "caffemodel"):
        text = refusal(caffe.engine.load_torch_weights, put(tmp_path, FILES[name][0]))
        assert FILES[name][1] in text and "not a PyTorch file" in text


def test_another_caffes_fields_do_not_make_a_caffemodel_unknown():
    whole = message("NetParameter", name="n") + b"\xc2\x3e\x01x"  # field 1000
    assert kinds.kind_of(memoryview(whole)).tag == kinds.CAFFEMODEL


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_file_cut_short_is_not_called_another_kind(tmp_path, share):
    net = caffe_pb2.NetParameter(name="n")
    for i in range(9):
        net.layer.add(name=f"l{i}", type="ReLU").blobs.add(shape={"dim": [5]}, data=[i] * 5)
    whole = net.SerializeToString()
    text = refusal(wire.read_weights, put(tmp_path, whole[: int(len(whole) * share)]))
    assert "damaged or cut short" in text


NUMBERS = st.lists(st.floats(width=32), max_size=30)


@settings(max_examples=150, deadline=None)
@given(
    name=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9),
    arrays=st.lists(st.tuples(st.text(max_size=5), NUMBERS), min_size=1, max_size=3),
    old=st.booleans(),
    half=st.booleans(),
)
def test_no_caffemodel_is_taken_for_another_kind(tmp_path_factory, name, arrays, old, half):
    path = tmp_path_factory.mktemp("kinds") / "w"
    if half:
        wire.write_float16(path, {n: [np.clip(v, -9, 9)] for n, v in arrays})
    else:
        net = caffe_pb2.NetParameter(name=name)
        for key, values in arrays:
            layer = (net.layers if old else net.layer).add(name=key)
            layer.blobs.add(num=1, channels=1, height=1, width=len(values), data=values)
        path.write_bytes(net.SerializeToString())
    assert len(wire.read_weights(path)) == (len(dict(arrays)) if half else len(arrays))


@settings(max_examples=150, deadline=None)
@given(step=st.integers(0, 2**31 - 1), history=st.lists(NUMBERS, max_size=3))
def test_no_solverstate_is_taken_for_another_kind(tmp_path_factory, step, history):
    path = tmp_path_factory.mktemp("kinds") / "s"
    arrays = [np.float32(values) for values in history]
    wire.write_solverstate(path, step, "some.caffemodel", arrays, step)
    assert wire.read_solverstate(path).iter == step


@settings(max_examples=150, deadline=None)
@given(NUMBERS.filter(len), st.booleans())
def test_no_mean_file_is_taken_for_another_kind(tmp_path_factory, values, old):
    path = tmp_path_factory.mktemp("kinds") / "m"
    shape = {"num": 1, "channels": len(values), "height": 1, "width": 1}
    more = shape if old else {"shape": {"dim": [1, len(values), 1, 1]}}
    path.write_bytes(caffe_pb2.BlobProto(data=values, **more).SerializeToString())
    assert read_mean(path).shape == (len(values), 1, 1)


@pytest.mark.parametrize("first", ["base_lr: 1e-10", "net: 'a'", 'type: "SGD"', "max_iter: 5"])
def test_a_prototxt_whose_letters_read_as_a_message_is_a_prototxt(first):
    """The first letter may be a field's number and kind, the second the length of all the rest."""
    length = 2 + ord(first[1])
    text = f"{first}\nlr_policy: 'fixed'\nsnapshot_prefix: '"
    text += "x" * (length - len(text) - 2) + "'\n"
    assert len(text) == length and kinds.kind_of(text.encode()).tag == kinds.SOLVER
