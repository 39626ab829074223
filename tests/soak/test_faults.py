"""A few of the faults that `python -m tests.soak.faults` makes by the hundred."""

from __future__ import annotations

import pytest

from tests.soak import faults

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def soak(tmp_path_factory):
    return faults.Soak(tmp_path_factory.mktemp("soak"), seed=3)


@pytest.mark.parametrize("kind", faults.FAULTS)
@pytest.mark.parametrize("number", range(2))
def test_after_a_fault_the_training_ends_with_the_same_bits(soak, kind, number):
    _, problem = soak.run(number, kind)
    assert problem is None, problem


def test_other_bits_are_found(soak):
    expected, soak.expected = soak.expected, [b"", b""]
    try:
        assert "other bits" in soak.run(9, "renames")[1]
    finally:
        soak.expected = expected
