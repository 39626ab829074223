"""Sizes of memory as users write them."""

from __future__ import annotations

import pytest

from tools.common import memory_sizes
from tools.common.cli import UserError


@pytest.mark.parametrize(
    "text, count",
    [("3GB", 3 * 10**9), ("2.5 GiB", 5 * 2**29), ("800mb", 8 * 10**8), ("1MiB", 2**20)],
)
def test_a_size_is_a_number_with_a_unit(text, count):
    assert memory_sizes.bytes_of(text) == count


def test_bytes_without_a_unit_are_refused_with_a_hint():
    with pytest.raises(UserError, match="--memory 3000: has no unit; write 3000GB"):
        memory_sizes.bytes_of("3000")


@pytest.mark.parametrize(
    "text", ["", "GB", "3KB", "-3GB", "3GB!", "1e9GB", "0GB", "3 GB GB", "nan"]
)
def test_other_texts_are_refused(text):
    with pytest.raises(UserError, match="--memory"):
        memory_sizes.bytes_of(text)


def test_where_the_system_does_not_tell_what_a_process_has_a_usual_size_is_taken(tmp_path):
    assert memory_sizes.resident(tmp_path / "none") is None
    (tmp_path / "status").write_text("Name: x\nVmRSS:     12 kB\n")
    assert memory_sizes.resident(tmp_path / "status") == 12 * 1024
    assert memory_sizes.program() > 10**6
