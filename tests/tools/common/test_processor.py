"""The processor's name."""

from __future__ import annotations

import platform

from tools.common import processor


def test_without_what_linux_tells_the_name_is_pythons(monkeypatch):
    monkeypatch.setattr(processor, "fields", dict)
    assert processor.name() == (platform.processor() or platform.machine())


def test_the_name_is_that_of_the_first_processor(monkeypatch):
    monkeypatch.setattr(processor, "fields", lambda: {"model name": "A 3", "flags": "avx avx2"})
    assert processor.name() == "A 3"
