"""Files that are none, files that are too large, and files that change while they are read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe import io
from caffe.errors import InputError
from caffe.layers.image_data import read_list
from caffe.layers.window_data import _List
from caffe.proto import caffe_pb2, hdf5, opening, text, wire
from caffe.reading import databases, images
from caffe.reading.data_transformer import read_mean
from tests.helpers import no_files
from tests.helpers.processes import environment

ROOT = Path(__file__).parents[3]
READERS = {
    "weights": wire.read_weights,
    "HDF5 weights": hdf5.read_weights_hdf5,
    "any weights": caffe.engine.read_weights,
    "PyTorch weights": caffe.engine.load_torch_weights,
    "HDF5 arrays": lambda path: caffe.engine.read_hdf5_arrays(path, ".*"),
    "solverstate": wire.read_solverstate,
    "HDF5 solverstate": hdf5.read_solverstate_hdf5,
    "mean": read_mean,
    "net": text.read_net,
    "solver": text.read_solver,
    "picture": lambda path: images.read(path, images.COLOR),
    "pycaffe's picture": io.load_image,
    "list": lambda path: read_list(path, InputError, print),
    "windows": lambda path: _List(path, "", InputError),
}


@pytest.mark.parametrize("kind", no_files.KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_refused_by_name_and_never_waited_for(tmp_path, reader, kind):
    path = no_files.put(kind, tmp_path / "it")
    with no_files.in_time(), pytest.raises(InputError) as caught:
        READERS[reader](path)
    message = str(caught.value)
    assert path in message and "\n" not in message and caught.value.exit_code == 2


@pytest.mark.parametrize("kind", no_files.KINDS)
@pytest.mark.parametrize("backend, name", [
    ("LMDB", "data.mdb"), ("LEVELDB", "CURRENT"), ("LEVELDB", "000003.log"), ("LEVELDB", "LOCK"),
])  # fmt: skip
def test_a_database_of_anything_but_files_is_refused_by_name(tmp_path, backend, name, kind):
    pytest.importorskip({"LMDB": "lmdb", "LEVELDB": "plyvel"}[backend])
    folder = tmp_path / "db"
    folder.mkdir()
    if name != "CURRENT" and backend == "LEVELDB":
        (folder / "CURRENT").write_text("MANIFEST-000001\n")
    path = no_files.put(kind, folder / name)
    with no_files.in_time(), pytest.raises(InputError) as caught:
        databases.Database(str(folder), getattr(databases, backend))
    assert (path if kind != "folder" else str(folder)) in str(caught.value)


@pytest.mark.parametrize("layer", [
    'type: "ImageData" image_data_param { source: "list" batch_size: 1 }',
    'type: "HDF5Data" top: "b" hdf5_data_param { source: "list" batch_size: 1 }',
])  # fmt: skip
@pytest.mark.parametrize("kind", no_files.KINDS)
def test_a_list_that_names_what_is_no_file_is_refused(tmp_path, monkeypatch, layer, kind):
    monkeypatch.chdir(tmp_path)
    no_files.put(kind, tmp_path / "it")
    (tmp_path / "list").write_text("it 0\n" if "Image" in layer else "it\n")
    tops = 'top: "a" top: "b"' if "Image" in layer else 'top: "a"'
    (tmp_path / "net").write_text(f'layer {{ name: "d" {layer} {tops} }}')
    with no_files.in_time(), pytest.raises(InputError, match="it: it is .*, not a regular file"):
        caffe.Net("net", caffe.TEST)


@pytest.mark.parametrize("reader", ["list", "windows", "net", "picture", "weights", "mean"])
def test_a_file_far_too_large_is_refused_before_it_is_read(tmp_path, reader):
    path = tmp_path / "large"
    path.write_bytes({"weights": b"\x0a\x03net\xa2\x06", "mean": b"\x08\x01"}.get(reader, b"a 0\n"))
    os.truncate(path, 50 << 30)  # holes take no room on the disk
    with no_files.in_time(), pytest.raises(InputError, match="large"):
        READERS[reader](str(path))


def test_a_file_that_tells_no_size_is_read_no_further_than_the_limit():
    with pytest.raises(InputError, match="more than 5 bytes"):
        opening.read_regular("/proc/self/maps", 5)


def _caffemodel(path, count):
    net = caffe_pb2.NetParameter()
    net.layer.add(name="fc", type="InnerProduct")
    wire.write_net(path, net, [[np.ones(count, np.float32)]])


def test_weights_stay_what_they_were_when_their_file_is_cut_short_or_written_over(tmp_path):
    path = tmp_path / "m.caffemodel"
    _caffemodel(path, 1 << 20)
    found = caffe.engine.read_weights(path)
    with open(path, "r+b") as file:
        file.write(b"\xff" * 4096)
        file.truncate(4096)
    assert (found[0].blobs[0][1] == 1).all()


def test_a_file_that_becomes_shorter_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.caffemodel"
    _caffemodel(path, 1 << 20)
    real = opening.open_regular

    class Cut:
        def __init__(self, file):
            self.file, self.cut = file, False

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def fileno(self):
            return self.file.fileno()

        def readinto(self, view):
            count = self.file.readinto(view[:4096])
            os.truncate(path, 4096)
            return count

    monkeypatch.setattr(opening, "open_regular", lambda *given: Cut(real(*given)))
    with pytest.raises(InputError, match=r"m\.caffemodel: became shorter while it was read"):
        opening.read_whole(path)


def test_bytes_read_where_they_are_asked_for_are_those_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_PIECE", 10)
    monkeypatch.setattr(opening, "_PAGE", 4)
    content = bytes(range(100)) + b"HEAP" + bytes(50)
    (tmp_path / "x").write_bytes(content)
    with opening.FileBytes(tmp_path / "x") as buf:
        assert len(buf) == len(content) and bytes(buf[i] for i in range(len(buf))) == content
        assert (
            buf[3:9] == content[3:9] and buf[-7:] == content[-7:] and buf[150:400] == content[150:]
        )
        assert [buf.find(b"HEAP", start) for start in (0, 100, 101)] == [100, 100, -1]
        os.truncate(tmp_path / "x", 20)
        with pytest.raises(InputError, match="became shorter"):
            buf[15:30]


def test_reading_weights_takes_no_more_memory_than_their_file(tmp_path):
    path = tmp_path / "m.caffemodel"
    _caffemodel(path, 16 << 20)
    code = f"""
import resource, caffe
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = caffe.engine.read_weights({str(path)!r})
assert found[0].blobs[0][1].sum() == 16 << 20
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    run = subprocess.run([sys.executable, "-c", code], env=environment(ROOT), capture_output=True)
    assert int(run.stdout) < 64 + 24, run.stderr
