from __future__ import annotations

import pytest
from google.protobuf import text_format
from hypothesis import given, strategies as st

from caffe.core.graph import filter_layers, insert_splits, meets_rule
from caffe.engine import InputError
from caffe.proto import caffe_pb2


def net_param(text):
    return text_format.Parse(text, caffe_pb2.NetParameter())


def state(text):
    return text_format.Parse(text, caffe_pb2.NetState())


def rule(text):
    return text_format.Parse(text, caffe_pb2.NetStateRule())


@pytest.mark.parametrize(
    "conditions, met",
    [
        ("", True),
        ("phase: TRAIN", True),
        ("phase: TEST", False),
        ("min_level: 2", True),
        ("min_level: 3", False),
        ("max_level: 2", True),
        ("max_level: 1", False),
        ('stage: "a"', True),
        ('stage: "a" stage: "c"', False),
        ('not_stage: "c"', True),
        ('not_stage: "c" not_stage: "b"', False),
        ('phase: TRAIN min_level: 1 stage: "b" not_stage: "c"', True),
        ('phase: TRAIN min_level: 1 stage: "b" not_stage: "a"', False),
    ],
)
def test_a_rule_is_met_when_all_its_conditions_are(conditions, met):
    assert meets_rule(state('phase: TRAIN level: 2 stage: "a" stage: "b"'), rule(conditions)) == met


def test_layers_stay_when_any_include_or_no_exclude_rule_is_met():
    text = """state { phase: TEST }
        layer { name: "always" }
        layer { name: "in" include { phase: TRAIN } include { phase: TEST } }
        layer { name: "train" include { phase: TRAIN } }
        layer { name: "out" exclude { phase: TRAIN } exclude { phase: TEST } }
        layer { name: "not in train" exclude { phase: TRAIN } }"""
    kept = [layer.name for layer in filter_layers(net_param(text)).layer]
    assert kept == ["always", "in", "not in train"]


def test_include_and_exclude_in_one_layer_are_refused_by_name():
    text = 'layer { name: "both" include { phase: TRAIN } exclude { phase: TEST } }'
    with pytest.raises(InputError, match="layer 'both'"):
        filter_layers(net_param(text))


def split(text):
    net = insert_splits(net_param(text))
    return [(la.name, list(la.bottom), list(la.top), list(la.loss_weight)) for la in net.layer]


def test_a_blob_with_one_reader_is_not_split():
    text = 'layer { name: "a" top: "x" } layer { name: "b" bottom: "x" top: "y" }'
    assert split(text) == [("a", [], ["x"], []), ("b", ["x"], ["y"], [])]


def test_a_blob_with_several_readers_is_split_with_caffes_names():
    text = """layer { name: "a" top: "u" top: "x" }
        layer { name: "b" bottom: "x" bottom: "x" top: "y" }
        layer { name: "c" bottom: "x" }"""
    assert split(text) == [
        ("a", [], ["u", "x"], []),
        ("x_a_1_split", ["x"], ["x_a_1_split_0", "x_a_1_split_1", "x_a_1_split_2"], []),
        ("b", ["x_a_1_split_0", "x_a_1_split_1"], ["y"], []),
        ("c", ["x_a_1_split_2"], [], []),
    ]


def test_what_an_in_place_layer_made_is_split_behind_it():
    text = """layer { name: "a" top: "x" }
        layer { name: "relu" bottom: "x" top: "x" }
        layer { name: "b" bottom: "x" } layer { name: "c" bottom: "x" }"""
    assert [name for name, *_ in split(text)] == ["a", "relu", "x_relu_0_split", "b", "c"]


def test_a_loss_weight_counts_as_a_reader_and_moves_to_the_first_split():
    text = (
        """layer { name: "a" top: "x" loss_weight: 2 } layer { name: "b" bottom: "x" top: "y" }"""
    )
    assert split(text) == [
        ("a", [], ["x"], [0]),
        ("x_a_0_split", ["x"], ["x_a_0_split_0", "x_a_0_split_1"], [2, 0]),
        ("b", ["x_a_0_split_1"], ["y"], []),
    ]


def test_a_bottom_that_no_earlier_layer_makes_names_layer_and_blob():
    text = (
        'layer { name: "a" type: "ReLU" bottom: "later" top: "x" } layer { name: "b" top: "later" }'
    )
    with pytest.raises(InputError, match=r"layer 'a' \(ReLU\): unknown bottom blob 'later'"):
        insert_splits(net_param(text))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_after_splitting_every_blob_has_at_most_one_reader(reads):
    text = "".join(f'layer {{ name: "l{i}" top: "b{i}" }}' for i in range(5))
    text += "".join(f'layer {{ name: "r{k}" bottom: "b{i}" }}' for k, i in enumerate(reads))
    net = insert_splits(net_param(text))
    read = [bottom for layer in net.layer for bottom in layer.bottom]
    assert len(read) == len(set(read))
    assert sum(layer.name.startswith("r") for layer in net.layer) == len(reads)
