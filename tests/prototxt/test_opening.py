"""Texts of the toolkit that are no files, or far too large."""

from __future__ import annotations

import os

import pytest

from caffe.proto import caffe_pb2
from prototxt import own, text
from prototxt.errors import InputError
from prototxt.opening import UnfitFile, open_regular, read_regular
from tests.helpers import no_files

READERS = {
    "prototxt": lambda path: text.read(path, caffe_pb2.NetParameter()),
    "toml": own.read_toml,
    "copy of a toml": own.copy_text,
}


@pytest.mark.parametrize("kind", no_files.KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_refused_by_name_and_never_waited_for(tmp_path, reader, kind):
    path = no_files.put(kind, tmp_path / "it")
    with no_files.in_time(), pytest.raises(InputError) as caught:
        READERS[reader](path)
    assert path in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("reader", READERS)
def test_a_text_far_too_large_is_refused_before_it_is_read(tmp_path, reader):
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 50 << 30)
    with no_files.in_time(), pytest.raises(InputError, match="large: .*bytes are more than"):
        READERS[reader](str(tmp_path / "large"))


def test_a_file_that_tells_no_size_is_refused_where_it_has_more_than_the_limit():
    with pytest.raises(UnfitFile, match="more than 5 bytes") as caught:
        read_regular("/proc/self/maps", 5)
    assert caught.value.exit_code == 2


def test_a_path_that_is_not_there_is_the_systems_own_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
