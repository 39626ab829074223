"""HDF5Data on files of strangers: no bytes of another file, no endless loop."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.errors import InputError
from tests.helpers import no_files

h5py = pytest.importorskip("h5py")
ROWS = np.arange(12, dtype="f4").reshape(4, 3)


def run(tmp_path, write, top="data") -> np.ndarray:
    """The first batch of HDF5Data on the file that `write(h5py.File)` fills."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = ROWS + 100
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write(file)
    return load(tmp_path, top)


def load(tmp_path, top="data"):
    (tmp_path / "list").write_text(f"{tmp_path / 'x.h5'}\n")
    (tmp_path / "net").write_text(
        f'layer {{ name: "d" type: "HDF5Data" top: "{top}" '
        f'hdf5_data_param {{ source: "{tmp_path / "list"}" batch_size: 4 }} }}'
    )
    net = caffe.Net(str(tmp_path / "net"), caffe.TEST)
    net.forward()
    return net.blobs[top].data.copy()


def test_a_dataset_of_the_file_is_read_whole_or_in_a_group(tmp_path):
    assert (run(tmp_path, lambda file: file.create_dataset("data", data=ROWS)) == ROWS).all()
    made = run(tmp_path, lambda file: file.create_dataset("a/b", data=ROWS), "a/b")
    assert (made == ROWS).all()


@pytest.mark.parametrize("top, way", [("data", "direct"), ("far/data", ""), ("data", "soft")])
def test_a_link_to_another_file_is_refused(tmp_path, top, way):
    def write(file):
        other = str(tmp_path / "other.h5")
        file["far"] = h5py.ExternalLink(other, "/")
        if way:
            soft = h5py.SoftLink("/far/data")
            file["data"] = soft if way == "soft" else h5py.ExternalLink(other, "/data")

    with pytest.raises(InputError, match=r"x\.h5: .* is a link to elsewhere"):
        run(tmp_path, write, top)


def test_a_ring_in_a_heap_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["data"] = ROWS
    content = bytearray((tmp_path / "x.h5").read_bytes())
    heap = content.rindex(b"HEAP")
    free, names = (int.from_bytes(content[heap + i : heap + i + 8], "little") for i in (16, 24))
    content[names + free : names + free + 8] = free.to_bytes(8, "little")
    (tmp_path / "x.h5").write_bytes(content)
    with no_files.in_time(), pytest.raises(InputError, match="more free places than room"):
        load(tmp_path)
