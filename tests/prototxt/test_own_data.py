"""The keys of [data] for colours, annotations and bands become what the data layer reads."""

from __future__ import annotations

import ast
import sys

import pytest
from google.protobuf import text_format
from voc_layers import VOCSegDataLayer

from caffe.proto import caffe_pb2
from prototxt import generate, own
from prototxt.errors import InputError
from prototxt.tasks import VOC_MEAN

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="needs tomllib")


@pytest.fixture
def toml(tmp_path):
    """Writes a TOML with lines in [data] and at the top."""

    def write(data, top='classes = ["background", "cell"]'):
        path = tmp_path / "cells.toml"
        path.write_text(
            f'name = "cells"\n{top}\n[data]\nroot = "data/cells"\nval_images = 2\n{data}\n'
            "[training]\nbase_lr = 1e-9\niterations = 5\n"
        )
        return str(path)

    return write


def params_of(task):
    """The val split's parameters, as the layer takes them."""
    source = task.val
    given = {source.folder_key: source.folder, "split": source.split, "mean": source.mean}
    return VOCSegDataLayer.parse(repr({**given, **dict(source.extra)}))


def test_colours_are_of_classes_by_name_and_of_void(toml):
    task = own.load(toml(
        'colours = {cell = [[1, 2, 3], [4, 5, 6]], background = [0, 0, 0], void = [9, 9, 9]}\n'
        'other = "void"'
    ))  # fmt: skip
    found = params_of(task)
    assert found["colours"] == {0x010203: 1, 0x040506: 1, 0: 0, 0x090909: 255}
    assert found["other"] == 255 and task.palette == ((0, 0, 0), (1, 2, 3))


def test_the_palette_of_the_file_goes_before_that_of_its_masks(toml):
    top = 'classes = ["background", "cell"]\npalette = [[7, 7, 7], [8, 8, 8]]'
    task = own.load(toml("colours = {cell = [1, 2, 3], background = [0, 0, 0]}", top))
    assert task.palette == ((7, 7, 7), (8, 8, 8))


def test_annotations_name_classes_and_what_else_means_one(toml):
    found = params_of(own.load(toml(
        'annotations = "a/{split}.json"\nnames = {cell = ["Cell", "blob"], void = "ignore"}\n'
        'crowd = "class"\noverlap = "void"'
    )))  # fmt: skip
    names = {"background": 0, "cell": 1, "Cell": 1, "blob": 1, "ignore": 255}
    assert found["names"] == names and found["annotations"] == "a/{split}.json"
    assert (found["unlabelled"], found["crowd"], found["overlap"]) == (0, None, "void")


def test_pixels_without_an_annotation_are_background_or_void(toml):
    place = 'annotations = "a.xml"\n'
    assert params_of(own.load(toml(place)))["unlabelled"] == 0
    assert params_of(own.load(toml(place + 'unlabelled = "void"')))["unlabelled"] == 255
    other = own.load(toml(place, 'classes = ["sky", "sea"]'))
    assert params_of(other)["unlabelled"] == 255 and params_of(other)["crowd"] == 255


def test_suffixes_and_splits_in_folders_reach_the_layer(toml):
    found = params_of(own.load(toml(
        'images = "{split}/img"\nimage_suffix = "_rgb"\nlabel_suffix = "_gt"'
    )))  # fmt: skip
    assert (found["image_dir"], found["image_suffix"]) == ("{split}/img", "_rgb")
    assert found["label_suffix"] == "_gt"


@pytest.mark.parametrize(
    "data, said",
    [
        ("colours = {cell = [0, 0, 1]}", "colours: has none for 'background'"),
        ("colours = {cel = [0, 0, 1]}", "colours: 'cel' is no class; did you mean 'cell'?"),
        ("colours = {}", "colours: is empty"),
        ("colours = {cell = [0, 0], background = [1, 1, 1]}", "colours: a colour is [red,"),
        ("colours = {cell = [0, 0, 0], background = [0, 0, 0]}", "of 'cell' and of 'background'"),
        ('colours = {cell = [0, 0, 0], background = [1, 1, 1]}\nannotations = "a.json"',
         "colours: are of masks"),
        ('other = "void"', "other: is of `colours` or `annotations`"),
        ('overlap = "later"', "overlap: is of annotations"),
        ('annotations = "a.json"\noverlap = "latest"', "overlap: unknown 'latest'"),
        ('annotations = "a.json"\nother = "sell"', "other: 'sell' is no class; did you mean"),
        ('annotations = "a.json"\nnames = {cell = ["a"], void = ["a"]}', "'a' stands for two"),
        ('annotations = "a.json"\nnames = {cell = [1]}', "names: 'cell': must be a list of labels"),
        ('channels = ["red", "red"]', "channels: names a band twice"),
        ("channels = []", "channels: must be 1 to 64 names"),
        ("channels = [0]", "channels: must be 1 to 64 names"),
        ("pixel_scale = 0.5", "pixel_scale: needs `channels`"),
        ("channels = [1]\npixel_scale = 0", "pixel_scale: must be above 0"),
        ("channels = [1]\njitter = 0.5", "jitter: changes colours"),
        ('label_suffix = "/a"', "label_suffix: is the end of a file's name"),
        ("channels = 4", "channels: must be a list of the bands' names or numbers"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_file_and_key(toml, data, said):
    path = toml(data)
    with pytest.raises(InputError) as caught:
        own.load(path)
    assert str(caught.value).startswith(f"{path}: data.") and said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mean_of_another_number_than_the_channels_is_named(toml):
    top = 'classes = ["a", "b"]\nmean = [1, 2, 3]'
    with pytest.raises(InputError, match="mean: must be 4 numbers .*has 3"):
        own.load(toml("channels = [1, 2, 3, 4]", top))


@pytest.mark.parametrize("net", ["dilated-fcn2s-vgg16", "fcn8s-atonce-vgg16"])
def test_nets_of_bands_read_them_by_a_first_layer_of_its_own(toml, net):
    path = toml('channels = ["red", "green", "blue", "nir"]')
    made = generate.own_files(path, [net], "out")
    for phase in ("train", "val", "deploy"):
        proto = text_format.Parse(made[f"out/{net}/{phase}.prototxt"], caffe_pb2.NetParameter())
        names = [layer.name for layer in proto.layer]
        assert "conv1_1_bands" in names and "conv1_1" not in names
    assert list(proto.layer[0].input_param.shape[0].dim) == [1, 4, 500, 500]
    blue, green, red = VOC_MEAN
    gray = round(sum(VOC_MEAN) / 3, 8)
    train = text_format.Parse(made[f"out/{net}/train.prototxt"], caffe_pb2.NetParameter())
    params = ast.literal_eval(train.layer[0].python_param.param_str)
    assert params["mean"] == (red, green, blue, gray)
    assert params["channels"] == ["red", "green", "blue", "nir"]
