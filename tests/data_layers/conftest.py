"""Data sets in the real formats, small, and nets that hold nothing but a data layer."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

import caffe
from tests.helpers.layouts import (
    MEAN,
    SIZES,
    DataSet,
    pictures,
    write_jpeg,
    write_list,
    write_palette,
    write_sbd_label,
)


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
def context(tmp_path):
    """Pascal-Context's layout: splits train (all) and val (all), 459 fine labels, 59 classes.

    The lists are `data.fine` and `data.classes`; three names differ between them.
    """
    voc, root = tmp_path / "data/pascal", tmp_path / "data/pascal-context"
    for folder in (voc / "VOC2010/JPEGImages", voc / "VOC2010/ImageSets/Main", root / "trainval"):
        folder.mkdir(parents=True)
    data = DataSet(root, {"voc_dir": str(voc), "context_dir": str(root), "split": "val"})
    data.voc = voc / "VOC2010"
    data.classes = ["diningtable", "bedcloth", "clothes", "dog", "tv monitor"]
    data.classes += [f"class {k}" for k in range(59 - len(data.classes))]
    data.fine = ["table", "bedclothes", "cloth", "dog", "tvmonitor"] + data.classes[5:]
    data.fine += ["unknown", "clothes tree"] + [f"thing {k}" for k in range(459 - 61)]
    np.random.RandomState(3).shuffle(data.fine)
    write_list(root / "labels.txt", data.fine)
    write_list(root / "59_labels.txt", data.classes)
    rng = np.random.RandomState(4)
    differing = [data.fine.index(name) + 1 for name in ("table", "bedclothes", "cloth")]
    for number, (height, width) in enumerate(SIZES):
        name = f"2008_{number:06d}"
        rgb = rng.randint(0, 256, (height, width, 3)).astype(np.uint8)
        data.ids.append(name)
        data.images[name] = write_jpeg(data.voc / "JPEGImages" / f"{name}.jpg", rgb)
        label = rng.randint(1, 460, (height, width)).astype((np.uint16, float)[number % 2])
        label[0, :4] = [*differing, 0]
        data.labels[name] = label
        savemat(root / "trainval" / f"{name}.mat", {"LabelMap": label}, do_compression=True)
    for split in ("train", "val"):
        text = "".join(i + "\n" for i in data.ids)
        (data.voc / "ImageSets/Main" / f"{split}.txt").write_text(text)
    return data


@pytest.fixture
def nyud(tmp_path):
    """NYUDv2's layout: splits trainval (all) and test (all); labels as stored, 0 to 40."""
    root = tmp_path / "data/nyud"
    for folder in ("data/images", "data/depth", "data/hha", "segmentation"):
        (root / folder).mkdir(parents=True)
    params = {"nyud_dir": str(root), "split": "test", "tops": ["color", "label"]}
    data = DataSet(root, params)
    rng = np.random.RandomState(5)
    for number, (height, width) in enumerate(SIZES):
        name = str(5001 + number)
        data.ids.append(name)
        data.images[name] = rng.randint(0, 256, (height, width, 3)).astype(np.uint8)
        data.hhas[name] = rng.randint(0, 256, (height, width, 3)).astype(np.uint8)
        data.depths[name] = rng.randint(1, 65536, (height, width)).astype(np.uint16)
        label = rng.randint(0, 41, (height, width)).astype((np.uint8, float)[number % 2])
        label[0, :3] = 0, 1, 40
        data.labels[name] = label
        for kind, array in (("images", data.images), ("hha", data.hhas), ("depth", data.depths)):
            Image.fromarray(array[name]).save(root / "data" / kind / f"img_{name}.png")
        file = root / "segmentation" / f"img_{name}.mat"
        savemat(file, {"segmentation": label}, do_compression=True)
    for split in ("trainval", "test"):
        (root / f"{split}.txt").write_text("".join(i + "\n" for i in data.ids))
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
    """take(net, count) -> the tops of the next `count` forwards, tuples of copies."""

    def take(net, count):
        items = []
        for _ in range(count):
            net.forward()
            items.append(tuple(blob.data.copy() for blob in net.blobs.values()))
        return items

    return take
