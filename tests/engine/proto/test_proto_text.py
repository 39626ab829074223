"""Prototxt files: what is read, and how mistakes in them are told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from caffe.errors import InputError
from caffe.proto import text

NET = """name: "n"
layer {
  name: "conv"
  type: "Convolution"
  bottom: "data"
  top: "conv"
}
"""


def error_of(content: str) -> str:
    with pytest.raises(InputError) as caught:
        text.parse_net(content, "train.prototxt")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_net_is_read(tmp_path):
    path = tmp_path / "train.prototxt"
    path.write_text("# a comment\n" + NET, encoding="utf-8")
    net = text.read_net(path)
    assert net.name == "n" and net.layer[0].type == "Convolution"


def test_a_net_that_is_written_is_read_back_equal(tmp_path):
    net = text.parse_net(NET)
    (tmp_path / "out.prototxt").write_bytes(text.printed(net))
    assert text.read_net(tmp_path / "out.prototxt") == net


def test_a_typo_in_a_field_names_line_and_the_field_meant():
    assert error_of(NET.replace("bottom", "botom")) == (
        "train.prototxt:5: LayerParameter has no field 'botom'; did you mean 'bottom'?"
    )


def test_a_typo_in_an_enum_value_lists_the_values():
    message = error_of("layer { pooling_param { pool: MAXX } }")
    assert message == (
        "train.prototxt:1: PoolingParameter.PoolMethod has no value 'MAXX'; "
        "it knows MAX, AVE, STOCHASTIC"
    )


def test_a_field_given_twice_is_refused_as_caffe_does():
    assert error_of('name: "a"\nname: "b"') == (
        "train.prototxt:2: NetParameter has field 'name' more than once"
    )
    assert "'state' more than once" in error_of("state { phase: TEST } state { level: 1 }")


def test_a_missing_required_field_is_named():
    assert error_of("layer { clip_param { min: 1 } }") == (
        "train.prototxt: required field 'layer[0].clip_param.max' is missing"
    )


@pytest.mark.parametrize(
    "content",
    ["layer {", "<" * 20000, "layer { " * 20000, "name: 3", 'name: "x', "input_dim: 1e40"],
)
def test_malformed_text_names_the_file_and_line(content):
    assert error_of(content).startswith("train.prototxt:1: ")


def test_a_negative_size_is_refused():
    assert error_of("layer { convolution_param { pad: -1 } }").startswith("train.prototxt:1: ")


def test_an_empty_file_is_an_empty_net(tmp_path):
    (tmp_path / "empty.prototxt").write_bytes(b"")
    assert not text.read_net(tmp_path / "empty.prototxt").layer


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "bom.prototxt").write_bytes(b"\xef\xbb\xbf" + NET.encode())
    assert text.read_net(tmp_path / "bom.prototxt").name == "n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x0a\x01n\xa2\x06\x00\x00", "it is a caffemodel, not a prototxt"),
        (b"\x0a\0", "is a binary file, not a prototxt"),
        ('name: "a"'.encode("utf-16"), "text in UTF-16, not a prototxt; save it as UTF-8"),
    ],
)
def test_a_file_that_is_not_text_is_told_so(tmp_path, content, words):
    path = tmp_path / "net.prototxt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        text.read_net(path)
    assert str(path) in str(caught.value)


def test_a_file_too_large_for_a_prototxt_is_not_read(tmp_path):
    path = tmp_path / "huge.prototxt"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="too large for a prototxt"):
        text.read_net(path)


def test_a_missing_file_or_a_folder_is_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot read .*none.prototxt: No such file"):
        text.read_net(tmp_path / "none.prototxt")
    with pytest.raises(InputError, match="it is a folder"):
        text.read_net(tmp_path)


def write_solver(tmp_path, content: str):
    path = tmp_path / "my.solver.prototxt"
    path.write_text(content, encoding="utf-8")
    return path


def test_a_solvers_net_path_is_left_alone(tmp_path):
    solver = text.read_solver(write_solver(tmp_path, 'net: "a/train.prototxt" base_lr: 1e-10'))
    assert solver.net == "a/train.prototxt"


def test_a_missing_snapshot_prefix_is_the_solver_files_name(tmp_path):
    path = write_solver(tmp_path, "base_lr: 1")
    assert text.read_solver(path).snapshot_prefix == str(tmp_path / "my.solver")


def test_a_snapshot_prefix_that_is_a_folder_gets_the_solver_files_name(tmp_path):
    path = write_solver(tmp_path, f'snapshot_prefix: "{tmp_path}"')
    assert text.read_solver(path).snapshot_prefix == str(tmp_path / "my.solver")


def test_a_snapshot_prefix_is_left_alone(tmp_path):
    path = write_solver(tmp_path, 'snapshot_prefix: "runs/a"')
    assert text.read_solver(path).snapshot_prefix == "runs/a"


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, len(NET)), st.sampled_from(['"', "{", "}", "\0", ":", "é", "-", "[", "<", ""])
)
def test_a_net_with_one_character_changed_is_read_or_refused_in_one_line(place, character):
    changed = NET[:place] + character + NET[place + 1 :]
    try:
        text.parse_net(changed, "net.prototxt")
    except InputError as err:
        assert "\n" not in str(err) and str(err).startswith("net.prototxt")
