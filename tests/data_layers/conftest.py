"""Data sets in the real formats, small, and nets that hold nothing but a data layer."""

from __future__ import annotations

import pytest
from layouts import MEAN, DataSet, pictures, write_jpeg, write_palette, write_sbd_label

import caffe


@pytest.fixture
def voc(tmp_path):
    """A data set in VOC layout, splits train (all), val (all), and one.txt (the first)."""
    root = tmp_path / "voc"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    data = DataSet(root, {"voc_dir": str(root), "split": "val", "mean": MEAN})
    for name, rgb, label in pictures():
        data.ids.append(name)
        data.images[name] = write_jpeg(root / "JPEGImages" / f"{name}.jpg", rgb)
        data.labels[name] = label
        write_palette(root / "SegmentationClass" / f"{name}.png", label)
    for split, ids in (("train", data.ids), ("val", data.ids), ("one", data.ids[:1])):
        text = "".join(i + "\n" for i in ids)
        (root / "ImageSets/Segmentation" / f"{split}.txt").write_text(text)
    return data


@pytest.fixture
def sbd(tmp_path):
    """A data set in SBD layout: train.txt holds three ids, val.txt two; no trainval.txt."""
    root = tmp_path / "sbd"
    for folder in ("img", "cls"):
        (root / folder).mkdir(parents=True)
    data = DataSet(root, {"sbdd_dir": str(root), "split": "val", "mean": MEAN})
    for name, rgb, label in pictures(1):
        data.ids.append(name)
        data.images[name] = write_jpeg(root / "img" / f"{name}.jpg", rgb)
        data.labels[name] = label
        write_sbd_label(root / "cls" / f"{name}.mat", label)
    (root / "train.txt").write_text("".join(i + "\n" for i in data.ids[:3]))
    (root / "val.txt").write_text("".join(i + "\n" for i in data.ids[3:]))
    return data


@pytest.fixture
def build(tmp_path):
    """build(layer, params or param_str, phase, module, tops) -> a net of that one data layer."""

    def build(layer, params, phase=caffe.TRAIN, module="voc_layers", tops=("data", "label")):
        text = params if isinstance(params, str) else repr(params)
        quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines = "".join(f'  top: "{top}"\n' for top in tops)
        path = tmp_path / "net.prototxt"
        path.write_text(
            f'layer {{\n  name: "data"\n  type: "Python"\n{lines}  python_param {{\n'
            f'    module: "{module}"\n    layer: "{layer}"\n    param_str: "{quoted}"\n  }}\n}}\n'
        )
        caffe.set_mode_cpu()
        return caffe.Net(str(path), phase)

    return build


@pytest.fixture
def take():
    """take(net, count) -> the (data, label) pairs of the next `count` forwards, copied."""

    def take(net, count):
        pairs = []
        for _ in range(count):
            net.forward()
            pairs.append((net.blobs["data"].data.copy(), net.blobs["label"].data.copy()))
        return pairs

    return take
