"""Data layers for PASCAL VOC (and any data set in its layout) and for SBD.

    layer { name: "data" type: "Python" top: "data" top: "label"
      python_param { module: "voc_layers" layer: "VOCSegDataLayer"
        param_str: "{'voc_dir': 'data/voc', 'split': 'train', 'seed': 1337,
                     'mean': (104.00698793, 116.66876762, 122.67891434)}" } }

Tops: data, 1 x 3 x H x W, B, G, R minus `mean`; label, 1 x 1 x H x W, class numbers, 255 for void.
Every item has its own H and W. See `segmentation` for the parameters that both layers take.
"""

from __future__ import annotations

import os

from segmentation import channels, label_files
from segmentation.files import find, image_endings
from segmentation.labels import VOID
from segmentation.layer import COMMON, SegmentationLayer, Source
from segmentation.lists import IMAGE_ENDINGS, read_split, split_file
from segmentation.mat import read_mat
from segmentation.params import REQUIRED, DataError, folder, integer, literal, mean, suffix
from segmentation.pictures import read_bgr, size as picture_size

VOC_CLASSES = 21  # with background: the values that VOC's and SBD's label maps hold


class _VOCLabels(SegmentationLayer):
    """A layer that other data sets use too: its default of 21 classes says nothing of them."""

    @classmethod
    def class_count(cls, params):
        """How many classes labels may hold; None where `params` does not say."""
        given = params if isinstance(params, dict) else literal(params, cls.__name__)
        return super().class_count(params) if "classes" in given else None


class VOCSegDataLayer(_VOCLabels):
    """VOC2012, or own data in its layout.

    voc_dir    the folder with JPEGImages, SegmentationClass, ImageSets (VOCdevkit's VOC2012)
    mean       B, G, R
    image_dir, label_dir, split_dir
               where images (any of IMAGE_ENDINGS), labels (palette or gray .png) and split
               files (.txt) lie, if not there; relative to voc_dir or absolute. {split} in
               the first two stands for the split's name
    image_suffix, label_suffix
               what stands behind the id in the names of image and label files, if anything
    classes    how many classes there are: labels are 0 to one less, or 255; default 21
    channels, pixel_scale
               of photographs with other bands than colours: what the blob's channels are, as
               `segmentation.channels` has it, and what their numbers are multiplied by. `mean` has
               a number for each, and the channels are in the order of `channels`
    and the keys of `segmentation.label_files`, for masks in colours and for annotations
    """

    schema = {
        "voc_dir": (folder, REQUIRED),
        "mean": (channels.mean_of, REQUIRED),
        "image_dir": (folder, "JPEGImages"),
        "label_dir": (folder, "SegmentationClass"),
        "split_dir": (folder, os.path.join("ImageSets", "Segmentation")),
        "image_suffix": (suffix, ""),
        "label_suffix": (suffix, ""),
        "classes": (integer(1, VOID), VOC_CLASSES),
        "channels": (channels.channels, None),
        "pixel_scale": (channels.pixel_scale, 1.0),
        **label_files.SCHEMA,
        **COMMON,
    }

    @classmethod
    def parse(cls, params):
        name = cls.__name__
        given = params if isinstance(params, dict) else literal(params, name)
        parsed = super().parse(given)
        wanted = parsed["channels"]
        count = 3 if wanted is None else len(wanted.each)
        if len(parsed["mean"]) != count:
            raise DataError(
                f"{name}: mean in param_str: expected {count} number{'s' * (count > 1)}, not "
                f"{given['mean']!r}"
            )
        if wanted is None and parsed["pixel_scale"] != 1:
            raise DataError(f"{name}: pixel_scale in param_str: needs `channels` too")
        if wanted is not None and parsed["jitter"]:
            raise DataError(f"{name}: jitter in param_str: changes colours, not `channels`")
        return parsed

    @classmethod
    def read_image(cls, params, path):
        """H x W x C of the photograph `path`, in the blob's order. Raises DataError."""
        if params["channels"] is None:
            return read_bgr(path)
        return channels.read_channels(path, params["channels"], params["pixel_scale"])

    @classmethod
    def open_source(cls, params):
        images, folder_of_labels, splits = (
            os.path.join(params["voc_dir"], params[key].replace("{split}", params["split"]))
            for key in ("image_dir", "label_dir", "split_dir")
        )
        where = split_file(splits, params["split"])
        labels = label_files.of(params, folder_of_labels)
        endings = IMAGE_ENDINGS if params["annotations"] else image_endings(images, labels.folder)

        def paths(name):
            image = find(images, name + params["image_suffix"], endings, "image")
            return {"data": image, "label": labels.find(name)}

        def read(paths):
            image = cls.read_image(params, paths["data"])
            return {"data": image, "label": labels.read(paths["label"], lambda: image.shape[:2])}

        def label(paths):
            def size():
                if params["channels"] is None:
                    return picture_size(paths["data"])
                return cls.read_image(params, paths["data"]).shape[:2]

            return labels.read(paths["label"], size)

        return Source(read_split(where), where, paths, read, label)


class SBDDSegDataLayer(_VOCLabels):
    """The Semantic Boundaries Dataset (Hariharan et al. 2011), labels from MATLAB files.

    sbdd_dir   the folder with img, cls, train.txt, val.txt (the release's `dataset`)
    mean       B, G, R
    classes    labels must be below it or 255; default 21
    The split 'trainval' is train.txt followed by val.txt where there is no trainval.txt.
    """

    schema = {
        "sbdd_dir": (folder, REQUIRED),
        "mean": (mean(3), REQUIRED),
        "classes": (integer(1, VOID), VOC_CLASSES),
        **COMMON,
    }

    @classmethod
    def open_source(cls, params):
        root = params["sbdd_dir"]
        where = split_file(root, params["split"])
        if params["split"] == "trainval" and not os.path.exists(where):
            ids = [i for part in ("train", "val") for i in read_split(split_file(root, part))]
        else:
            ids = read_split(where)

        def paths(name):
            return {
                "data": find(os.path.join(root, "img"), name, IMAGE_ENDINGS, "image"),
                "label": find(os.path.join(root, "cls"), name, (".mat",), "label"),
            }

        def read(paths):
            label = read_mat(paths["label"], "GTcls", "Segmentation")
            return {"data": read_bgr(paths["data"]), "label": label}

        return Source(ids, where, paths, read)
