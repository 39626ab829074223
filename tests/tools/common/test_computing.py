"""How the engine computes, as each command lets a user choose."""

from __future__ import annotations

import argparse

import pytest

import caffe
from tools.common import computing
from tools.common.cli import UserError


def parsed(*words, training=False):
    parser = argparse.ArgumentParser()
    computing.add_arguments(parser, training=training)
    return parser.parse_args(words)


@pytest.fixture
def told(monkeypatch):
    found = []
    for name in ("set_precision", "set_autotuning", "set_deterministic"):
        monkeypatch.setattr(
            caffe.engine, name, lambda value, name=name: found.append((name, value))
        )
    return found


def test_nothing_is_told_where_nothing_was_chosen(told):
    computing.choose(parsed())
    computing.choose(parsed(training=True))
    assert told == []


def test_precision_and_autotuning_are_told_to_the_engine(told):
    computing.choose(parsed("--precision", "tf32", "--autotune"))
    assert told == [("set_precision", "tf32"), ("set_autotuning", True)]


def test_autotuning_does_not_go_with_the_same_bits_each_time(told):
    with pytest.raises(UserError, match="--autotune"):
        computing.choose(parsed("--autotune", "--deterministic", training=True))
    assert told == []


@pytest.mark.parametrize("words", [("--precision", "tf32"), ("--autotune",), ("--deterministic",)])
def test_each_is_refused_under_bvlc_caffe(words, monkeypatch):
    monkeypatch.delattr(caffe, "engine")
    with pytest.raises(UserError, match=f"{words[0]}: works with this toolkit's engine only"):
        computing.choose(parsed(*words, training=True))


def test_the_choices_are_words_for_another_command():
    words = ["--precision", "bfloat16", "--deterministic"]
    assert computing.words(parsed(*words, training=True)) == words
    assert computing.words(parsed("--autotune")) == ["--autotune"]
