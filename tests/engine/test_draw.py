from __future__ import annotations

import builtins
import io
import shutil
import sys
import types

import pytest

import caffe
import caffe.draw as draw
from caffe.engine import Error, InputError
from caffe.proto import text
from tests.helpers.net_texts import data, ip, layer

TEXT = (
    'name: "small" '
    + data(2, 3, 8, 8)
    + layer(
        "conv", "Convolution", "data", "conv",
        "convolution_param { num_output: 4 kernel_h: 3 kernel_w: 5 pad: 1 } param { lr_mult: 2 }",
    )
    + layer("relu", "ReLU", "conv", "conv")
    + layer("pool", "Pooling", "conv", "p:1", "pooling_param { kernel_size: 2 pool: AVE }")
    + layer("drop", "Dropout", "p:1", "drop", "include { phase: TRAIN }")
    + ip("ip", "p:1", 7)
)  # fmt: skip
NET = text.parse_net(TEXT)


class Item:
    def __init__(self, *words, **settings):
        self.words, self.settings, self.nodes, self.edges = words, settings, [], []

    def add_node(self, node):
        self.nodes.append(node)

    def add_edge(self, edge):
        self.edges.append(edge)

    def to_string(self):
        return "digraph small {}"

    def create(self, format):
        return format.encode()


@pytest.fixture
def pydot(monkeypatch):
    """A pydot that only remembers."""
    module = types.ModuleType("pydot")
    module.Dot = module.Node = module.Edge = Item
    monkeypatch.setitem(sys.modules, "pydot", module)
    return module


def labels(graph):
    return [node.words[0] for node in graph.nodes]


def test_nodes_say_name_type_and_sizes(pydot):
    graph = draw.get_pydot_graph(NET, "LR")
    assert graph.words == ("small",) and graph.settings["rankdir"] == "LR"
    assert '"conv\\n(Convolution)\\nkernel size: 3x5\\nstride: 1\\npad: 1"' in labels(graph)
    assert '"pool\\n(Pooling AVE)\\nkernel size: 2\\nstride: 1\\npad: 0"' in labels(graph)


def test_vertical_drawings_have_one_line_nodes(pydot):
    assert '"ip (InnerProduct)"' in labels(draw.get_pydot_graph(NET, "TB"))


def test_a_phase_leaves_out_the_other_phases_layers(pydot):
    names = labels(draw.get_pydot_graph(NET, "TB", phase=caffe.TEST))
    assert '"drop (Dropout)"' not in names
    assert '"drop (Dropout)"' in labels(draw.get_pydot_graph(NET, "TB", phase=caffe.TRAIN))
    with pytest.raises(InputError, match="phase"):
        draw.get_pydot_graph(NET, "TB", phase=7)


def test_edges_say_the_number_of_outputs(pydot):
    edges = draw.get_pydot_graph(NET, "LR").edges
    ends = {(a.words[0], b.words[0]): e.settings["label"] for e in edges for a, b in [e.words]}
    assert ends['"ip\\n(InnerProduct)"', "ip"] == "7"
    assert ends["data", labels(draw.get_pydot_graph(NET, "LR"))[2]] == '""'
    plain = draw.get_pydot_graph(NET, "LR", label_edges=False).edges
    assert {edge.settings["label"] for edge in plain} == {'""'}


def test_a_colon_in_a_blobs_name_is_no_port(pydot):
    assert '"p:1"' in labels(draw.get_pydot_graph(NET, "LR"))


def test_learning_rates_are_shown_on_request(pydot):
    assert any("lr mult: 2.0, 1.0" in one for one in labels(
        draw.get_pydot_graph(NET, "LR", display_lrm=True)
    ))  # fmt: skip
    with pytest.raises(ValueError, match="ReLU"):
        draw.get_layer_lr_mult(NET.layer[2])


def test_the_files_ending_is_the_format(pydot, tmp_path):
    draw.draw_net_to_file(NET, tmp_path / "net.svg")
    assert (tmp_path / "net.svg").read_bytes().startswith(b"svg")
    draw.draw_net_to_file(NET, str(tmp_path / "net.raw"))
    assert (tmp_path / "net.raw").read_text().startswith("digraph")
    with pytest.raises(InputError, match="ending"):
        draw.draw_net_to_file(NET, tmp_path / "net")


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(17) + b"\0\0\0\0IEND\xaeB`\x82"


@pytest.mark.parametrize("ext", ["png", "svg", "raw", "dot", "pdf"])
def test_a_drawing_is_replaced_and_nothing_else_is(pydot, monkeypatch, tmp_path, ext):
    monkeypatch.setattr(Item, "create", lambda self, format: PNG if ext == "png" else b"drawn\n")
    path = tmp_path / f"net.{ext}"
    draw.draw_net_to_file(NET, path)
    first = path.read_bytes()
    draw.draw_net_to_file(NET, path)
    assert path.read_bytes() == first
    path.write_bytes(PNG + b"a photograph that speaks of caffe.draw, and is longer than its sign")
    with pytest.raises(InputError, match=f"net.{ext}: the file that is there is not a drawing of"):
        draw.draw_net_to_file(NET, path)
    assert b"a photograph" in path.read_bytes()


def test_a_picture_with_the_sign_is_still_one(pydot, tmp_path):
    image = pytest.importorskip("PIL.Image")
    stream = io.BytesIO()
    image.new("RGB", (5, 4), "red").save(stream, "PNG")
    signed = draw._signed(stream.getvalue(), "png")
    with image.open(io.BytesIO(signed)) as read:
        assert read.info["Comment"] == "Drawn by caffe.draw"
        assert read.convert("RGB").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    "raised, words", [(FileNotFoundError, "graphviz"), (AssertionError, "format 'png'")]
)
def test_a_missing_or_failing_dot_is_one_line(pydot, monkeypatch, tmp_path, raised, words):
    def create(self, format):
        raise raised("dot")

    monkeypatch.setattr(Item, "create", create)
    with pytest.raises(Error, match=words) as error:
        draw.draw_net_to_file(NET, tmp_path / "net.png")
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_a_missing_pydot_is_one_line(monkeypatch):
    load = builtins.__import__

    def without(name, *more, **settings):
        if name.startswith("pydot"):
            raise ImportError(name)
        return load(name, *more, **settings)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="pip install pydot"):
        draw.get_pydot_graph(NET, "LR")


def test_pydot_itself_draws(tmp_path):
    pytest.importorskip("pydot")
    draw.draw_net_to_file(NET, tmp_path / "net.raw")
    assert '"ip\\n(InnerProduct)"' in (tmp_path / "net.raw").read_text()
    if shutil.which("dot"):
        assert draw.draw_net(NET, "TB").startswith(b"\x89PNG")
