"""Weights of strangers: bytes of other files, memory as claimed, damage."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from surgery.errors import SurgeryError
from surgery.importers import hed, read_source
from tests.helpers import no_files
from tests.helpers.processes import environment

h5py = pytest.importorskip("h5py")
torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
MEAN = (104.0, 117.0, 123.0)
KERNEL = "block1/layers/conv2d/vars/0"
NAMES = ("x.h5", "x.caffemodel.h5", "x.pth", "x.pt", "x.safetensors", "x.caffemodel")


def refused(path, *words) -> str:
    with no_files.in_time(), pytest.raises(SurgeryError) as caught:
        read_source(str(path), MEAN)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in (str(path), *words)), message
    return message


@pytest.mark.parametrize("kind", no_files.KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_regular_file_is_refused_by_name_and_never_waited_for(tmp_path, name, kind):
    refused(no_files.put(kind, tmp_path / name))


@pytest.fixture
def secret(tmp_path):
    """A file that nobody asked for."""
    (tmp_path / "secret").write_bytes(np.full(108, 7, "<f4").tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["kernel"] = np.full((3, 3, 3, 4), 7, "f4")
        file["vars/0"], file["vars/1"] = np.full((3, 3, 3, 4), 7, "f4"), np.zeros(4, "f4")
    return tmp_path


def write_hostile(path, way) -> None:
    with h5py.File(path, "w") as file:
        file["block1/layers/conv2d/vars/1"] = np.zeros(4, "f4")
        if way == "external storage":
            spans = [(str(path.parent / "secret"), 0, 432)]
            file.create_dataset(KERNEL, (3, 3, 3, 4), "f4", external=spans)
        elif way == "external link":
            file[KERNEL] = h5py.ExternalLink(str(path.parent / "other.h5"), "/kernel")
        elif way == "external link above":
            del file["block1/layers/conv2d/vars"]
            file["block1/layers/conv2d/vars"] = h5py.ExternalLink(
                str(path.parent / "other.h5"), "/vars"
            )
        elif way == "soft link":
            file["far"] = h5py.ExternalLink(str(path.parent / "other.h5"), "/")
            file[KERNEL] = h5py.SoftLink("/far/kernel")
        elif way == "virtual":
            layout = h5py.VirtualLayout((3, 3, 3, 4), "f4")
            layout[...] = h5py.VirtualSource(str(path.parent / "other.h5"), "kernel", (3, 3, 3, 4))
            file.create_virtual_dataset(KERNEL, layout)
        else:
            file.create_dataset(KERNEL, (3, 3, 1 << 15, 1 << 15), "f4", chunks=(3, 3, 64, 64))


WAYS = ["external storage", "external link", "external link above", "soft link", "virtual", "claim"]


@pytest.mark.parametrize("way", WAYS)
def test_no_bytes_of_another_file_and_no_memory_as_claimed_by_hdf5(secret, way):
    write_hostile(secret / "x.h5", way)
    refused(secret / "x.h5")


@pytest.mark.parametrize("way", WAYS)
def test_nor_where_bvlc_caffe_runs(secret, way, monkeypatch):
    import caffe

    monkeypatch.delattr(caffe, "engine")
    write_hostile(secret / "x.h5", way)
    with pytest.raises(SurgeryError, match="x.h5"):
        hed.find(str(secret / "x.h5"))


def vgg(**more):
    state = {"features.0.weight": torch.ones(4, 3, 3, 3), "features.0.bias": torch.zeros(4)}
    return {**state, **more}


def repacked(path, compression) -> None:
    torch.save(vgg(), path)
    with zipfile.ZipFile(path) as archive:
        records = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for info, data in records:
            archive.writestr(info.filename, data)


def test_a_pth_whose_records_are_packed_is_refused(tmp_path):
    repacked(tmp_path / "x.pth", zipfile.ZIP_STORED)
    read_source(str(tmp_path / "x.pth"), MEAN)
    repacked(tmp_path / "x.pth", zipfile.ZIP_DEFLATED)
    refused(tmp_path / "x.pth", "is packed")


def test_tensors_that_share_their_numbers_take_no_more_than_the_file(tmp_path):
    many = torch.ones(1 << 16, dtype=torch.uint8)
    views = {f"v{i}": many[i:] for i in range(2000)}
    torch.save(vgg(**views), tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "more than the file's")
    torch.save(vgg(tied=many, other=many), tmp_path / "x.pth")
    read_source(str(tmp_path / "x.pth"), MEAN)


@pytest.mark.parametrize("value", [
    torch.ones(1).expand(1 << 15, 1 << 15), torch.ones(2, 2).to_sparse(),
    torch.empty(3, device="meta"), "text", 5, {"a": torch.ones(1)},
])  # fmt: skip
def test_what_is_no_plain_tensor_is_refused(tmp_path, value):
    torch.save(vgg(odd=value), tmp_path / "x.pth")
    refused(tmp_path / "x.pth")


class Evil:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (self.place,)


def test_no_code_of_a_pth_runs(tmp_path):
    for new in (True, False):
        place = str(tmp_path / "ran")
        torch.save(vgg(odd=Evil(place)), tmp_path / "x.pth", _use_new_zipfile_serialization=new)
        refused(tmp_path / "x.pth", "without running its code")
        assert not os.path.exists(place)


@pytest.mark.parametrize("key, value", [
    ("features.0.bias", torch.ones(3)), ("features.0.bias", torch.ones(4, dtype=torch.int64)),
    ("classifier.0.weight", torch.tensor(1.0)), ("classifier.0.bias", torch.ones(2, 2)),
    ("features.1.running_mean", torch.ones(4)),
])  # fmt: skip
def test_weights_that_do_not_fit_each_other_are_refused_in_one_line(tmp_path, key, value):
    more = {"classifier.0.weight": torch.ones(2, 4), "classifier.0.bias": torch.ones(2)}
    torch.save(vgg(**{**more, key: value}), tmp_path / "x.pth")
    if value.dtype == torch.int64:  # the engine gives floats of every kind of number
        read_source(str(tmp_path / "x.pth"), MEAN)
    else:
        refused(tmp_path / "x.pth")


def safetensors(header: bytes, numbers: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + numbers


@pytest.mark.parametrize("content", [
    safetensors(b'{"a":{"dtype":"F32","shape":[100000,100000],"data_offsets":[0,40000000000]}}'),
    safetensors(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', b"\0" * 4),
    safetensors(b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}', b"\0" * 8),
    safetensors(b'{"a":{"dtype":"NO","shape":[2],"data_offsets":[0,8]}}', b"\0" * 8),
    safetensors(b'{"a":{"dtype":"F32","shape":[2]}}', b"\0" * 8),
    safetensors(b'{"a":5}'),
    safetensors(b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}', b"\0" * 4),
    struct.pack("<Q", 1 << 40) + b'{"',
])  # fmt: skip
def test_a_safetensors_file_whose_sizes_are_wrong_is_refused(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    refused(tmp_path / "x.safetensors")


def test_make_init_ends_with_one_line_and_code_2(secret):
    write_hostile(secret / "x.h5", "claim")
    net = ROOT / "prototxt" / "nets" / "voc" / "dilated-fcn2s-vgg16" / "train.prototxt"
    run = subprocess.run(
        [sys.executable, "-m", "surgery.make_init", "--net", net, "--from", secret / "x.h5"]
        + ["--out", secret / "out.caffemodel"],
        env=environment(ROOT), cwd=ROOT, capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)),
    )  # fmt: skip
    assert run.returncode == 2 and len(run.stderr.splitlines()) == 1, run.stderr
    assert "x.h5" in run.stderr and not os.path.exists(secret / "out.caffemodel")


def test_a_safetensors_file_far_too_large_is_refused_at_its_head(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"")
    os.truncate(tmp_path / "x.safetensors", 50 << 30)
    refused(tmp_path / "x.safetensors", "not a safetensors file")
