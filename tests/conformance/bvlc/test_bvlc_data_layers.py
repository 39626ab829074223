"""The layers that read data: every value of every batch is BVLC Caffe's, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conformance import both, report
from tests.conformance.data_nets import agree, files, layer, refuse

# -- Data ---------------------------------------------------------------------------------

FLOATS = np.random.RandomState(5).standard_normal((3, 6, 8)).astype(np.float32)
DATUMS = {
    "bytes": [files.datum(files.pixels(i, 3 * 6, 8, 1).reshape(3, 6, 8), i) for i in range(7)],
    "floats": [files.datum(FLOATS * (i + 1), -i) for i in range(7)],
    "five channels": [files.datum(files.pixels(i, 30, 8, 1).reshape(5, 6, 8)) for i in range(3)],
    "PNG": [files.encoded_datum(files.encoded(files.pixels(i, 6, 8)), i) for i in range(5)],
    "grey PNG": [files.encoded_datum(files.encoded(files.pixels(i, 6, 8, 1))) for i in range(5)],
    "transparent PNG": [
        files.encoded_datum(files.encoded(files.pixels(i, 6, 8, 4))) for i in range(3)
    ],
    "JPEG": [
        files.encoded_datum(files.encoded(files.scene(i, 40, 56), "JPEG", quality=85), i)
        for i in range(3)
    ],
}


def data_layer(tmp_path, datums, transform="", more="batch_size: 3"):
    folder = tmp_path / "db"
    if not folder.exists():
        files.write_lmdb(folder, datums)
    return layer(
        "Data",
        f'data_param {{ source: "{folder}" backend: LMDB {more} }} '
        f"transform_param {{ {transform} }}",
    )


@pytest.mark.parametrize("what", DATUMS)
def test_a_database_of_any_datums_agrees(tmp_path, what):
    tolerance = 0.02 if what == "JPEG" else 0.0
    agree(f"Data, {what}", data_layer(tmp_path, DATUMS[what]), times=4, tolerance=tolerance)


@pytest.mark.parametrize("what", ["bytes", "floats", "PNG"])
def test_a_leveldb_agrees(tmp_path, what):
    pytest.importorskip("plyvel", reason="LevelDB needs the package plyvel")
    texts = []
    for side in both.SIDES:  # a LevelDB is locked by the process that reads it
        folder = files.write_leveldb(tmp_path / side, DATUMS[what])
        param = f'data_param {{ source: "{folder}" backend: LEVELDB batch_size: 3 }}'
        texts.append(layer("Data", param))
    theirs, ours = (
        both.run(side, "batches", {"prototxt": text, "times": 4})
        for side, text in zip(both.SIDES, texts)
    )
    errors = both.compare(theirs, ours, 0.0)
    report.record("data", f"Data, LevelDB of {what}", errors)


TRANSFORMS = {
    "scale": "scale: 0.00390625",
    "an odd scale": "scale: 0.017",
    "crop": "crop_size: 5",
    "an even crop": "crop_size: 4",
    "the whole height": "crop_size: 6",
    "one mean_value": "mean_value: 104.5 scale: 0.3",
    "mean_values": "mean_value: 104 mean_value: 117.25 mean_value: 123.7 crop_size: 3",
}


@pytest.mark.parametrize("what", ["bytes", "floats", "PNG"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_transformed_database_agrees(tmp_path, what, transform):
    text = data_layer(tmp_path, DATUMS[what], TRANSFORMS[transform])
    agree(f"Data, {what}, transformed", text)


@pytest.mark.parametrize("crop", ["", "crop_size: 3"])
def test_a_mean_file_agrees(tmp_path, crop):
    mean = files.write_mean(tmp_path / "mean.binaryproto", 100 + 20 * FLOATS)
    for what in ("bytes", "PNG"):
        (tmp_path / what).mkdir()
        text = data_layer(tmp_path / what, DATUMS[what], f'mean_file: "{mean}" scale: 0.5 {crop}')
        agree(f"Data, {what}, mean_file", text)


@pytest.mark.parametrize("force", ["force_color", "force_gray"])
@pytest.mark.parametrize("what", ["bytes", "PNG", "grey PNG", "transparent PNG", "JPEG"])
def test_forced_channels_agree(tmp_path, what, force):
    text = data_layer(tmp_path, DATUMS[what], f"{force}: true")
    agree(f"Data, {what}, {force}", text, tolerance=0.02 if what == "JPEG" else 0.0)


def test_pictures_of_several_sizes_agree_one_by_one(tmp_path):
    datums = [files.datum(files.pixels(i, 6 + i, 8, 1)[None], i) for i in range(3)]
    datums += [files.encoded_datum(files.encoded(files.pixels(i, 5, 4 + i))) for i in range(2)]
    agree("Data, several sizes", data_layer(tmp_path, datums, more="batch_size: 1"), times=8)


def test_pictures_of_several_sizes_agree_when_cropped(tmp_path):
    datums = [files.datum(files.pixels(i, 6 + i, 8, 1)[None], i) for i in range(3)]
    agree("Data, several sizes", data_layer(tmp_path, datums, "crop_size: 5"))


@pytest.mark.parametrize("prefetch", [1, 2, 9])
def test_the_number_of_batches_that_are_read_ahead_changes_nothing(tmp_path, prefetch):
    text = data_layer(tmp_path, DATUMS["bytes"], more=f"batch_size: 2 prefetch: {prefetch}")
    agree("Data, prefetch", text, times=6)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_solvers_that_train_together_share_the_items(tmp_path, phase, rank):
    text = data_layer(tmp_path, DATUMS["bytes"], more="batch_size: 2")
    agree("Data, solvers", text, phase=phase, rank=rank, solvers=3, times=5)


def test_a_data_layer_without_labels_agrees(tmp_path):
    text = data_layer(tmp_path, DATUMS["bytes"]).replace('top: "label"', "")
    agree("Data, no labels", text)


def test_a_random_crop_and_mirror_are_places_of_the_picture_in_both(tmp_path):
    picture = np.arange(48).reshape(1, 6, 8).astype(np.uint8)
    text = data_layer(
        tmp_path, [files.datum(picture)], "crop_size: 3 mirror: true", "batch_size: 400"
    )
    seen = {}
    for side in both.SIDES:
        found = both.run(side, "batches", {"prototxt": text, "phase": "TRAIN", "times": 1})
        crops = found["0 data"][:, 0].astype(int)
        seen[side] = {(crop.min(), crop[0, 0] > crop[0, 1]) for crop in crops}
        for crop in crops:
            assert (np.sort(crop, axis=1) - crop.min() == np.arange(3) + [[0], [8], [16]]).all()
    assert seen["bvlc"] == seen["engine"]  # every place, mirrored and not
    assert len(seen["engine"]) == 4 * 6 * 2


DATA_REFUSALS = {
    "a crop larger than the picture": ("crop_size: 7", "batch_size: 3"),
    "mean_file and mean_value": ('mean_file: "none" mean_value: 1', "batch_size: 3"),
    "a mean_file that is not there": ('mean_file: "none"', "batch_size: 3"),
    "two mean_values": ("mean_value: 1 mean_value: 2", "batch_size: 3"),
}


@pytest.mark.parametrize("what", DATA_REFUSALS)
def test_both_refuse_a_transformation(tmp_path, what):
    refuse(data_layer(tmp_path, DATUMS["bytes"], *DATA_REFUSALS[what]))


def test_both_refuse_several_sizes_in_one_batch(tmp_path):
    refuse(data_layer(tmp_path, [files.datum(np.zeros((1, 2 + i, 3), np.uint8)) for i in (0, 1)]))


def test_both_refuse_a_mean_file_of_another_size(tmp_path):
    mean = files.write_mean(tmp_path / "mean.binaryproto", FLOATS[:, 1:])
    refuse(data_layer(tmp_path, DATUMS["bytes"], f'mean_file: "{mean}"'))


# -- ImageData ----------------------------------------------------------------------------


def image_layer(source, more="batch_size: 2", transform=""):
    return layer(
        "ImageData",
        f'image_data_param {{ source: "{source}" {more} }} transform_param {{ {transform} }}',
    )


@pytest.mark.parametrize("color", ["true", "false"])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg"])
def test_a_list_of_pictures_agrees(tmp_path, color, suffix):
    source = files.write_pictures(tmp_path, [files.scene(i, 30, 40) for i in range(5)], suffix)
    text = image_layer(source, f"batch_size: 2 is_color: {color}")
    agree(f"ImageData, {suffix}", text, times=4, tolerance=0.02 if suffix == ".jpg" else 0.0)


@pytest.mark.parametrize("size", [(9, 7), (18, 14), (36, 28), (5, 3), (1, 1), (50, 61), (3, 90)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_resized_picture_agrees(tmp_path, size, channels):
    given = [files.pixels(i, 18, 14, channels) for i in range(2)]
    source = files.write_pictures(tmp_path, given)
    color = str(channels == 3).lower()
    more = f"batch_size: 2 is_color: {color} new_height: {size[0]} new_width: {size[1]}"
    agree("ImageData, resized", image_layer(source, more), times=1)


def test_random_sizes_agree(tmp_path):
    stream = np.random.RandomState(0)
    for i in range(25):
        old, new = stream.randint(1, 60, 2), stream.randint(1, 60, 2)
        (tmp_path / str(i)).mkdir()
        source = files.write_pictures(tmp_path / str(i), [files.pixels(i, *old)])
        more = f"batch_size: 1 new_height: {new[0]} new_width: {new[1]}"
        agree("ImageData, resized", image_layer(source, more), times=1)


def test_pictures_of_several_sizes_agree_in_batches_of_one(tmp_path):
    source = files.write_pictures(tmp_path, [files.pixels(i, 4 + i, 9 - i) for i in range(4)])
    agree("ImageData, several sizes", image_layer(source, "", "mean_value: 3.5"), times=6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photographs_orientation_agrees(tmp_path, orientation):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    source = files.write_pictures(tmp_path, [files.scene(0, 32, 48)], ".jpg", exif=exif)
    agree("ImageData, orientation", image_layer(source, ""), times=1, tolerance=0.02)


@pytest.mark.parametrize("color", ["true", "false"])
def test_kinds_of_png_agree(tmp_path, color):
    from PIL import Image

    one = Image.fromarray(files.pixels(1, 9, 7))
    one.quantize(16).save(tmp_path / "a palette.png")
    one.quantize(16).save(tmp_path / "see-through palette.png", transparency=3)
    Image.fromarray(files.pixels(2, 9, 7, 4)).save(tmp_path / "rgba.png")
    Image.fromarray(files.pixels(3, 9, 7, 2)).save(tmp_path / "la.png")
    Image.fromarray(files.pixels(4, 9, 7, 1) > 127).save(tmp_path / "bits.png")
    deep = np.random.RandomState(5).randint(0, 65536, (9, 7)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    names = sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / "list.txt").write_text("".join(f"{name} {i}\n" for i, name in enumerate(names)))
    more = f'batch_size: 6 is_color: {color} root_folder: "{tmp_path}/"'
    agree("ImageData, kinds of PNG", image_layer(tmp_path / "list.txt", more), times=1)


def test_a_shuffled_list_is_read_whole_in_both(tmp_path):
    source = files.write_pictures(tmp_path, [files.pixels(i, 4, 4) for i in range(6)])
    text = image_layer(source, "batch_size: 6 shuffle: true")
    for side in both.SIDES:
        found = both.run(side, "batches", {"prototxt": text, "times": 4})
        orders = [tuple(found[f"{i} label"].astype(int)) for i in range(4)]
        assert all(sorted(order) == list(range(6)) for order in orders)
        assert len(set(orders)) > 1


def test_both_refuse_a_height_without_a_width(tmp_path):
    source = files.write_pictures(tmp_path, [files.pixels(0, 4, 4)])
    refuse(image_layer(source, "new_height: 3"))


def test_both_refuse_a_picture_that_is_not_there(tmp_path):
    source = files.write_pictures(tmp_path, [files.pixels(i, 4, 4) for i in range(3)])
    (tmp_path / "2.png").unlink()
    refuse(image_layer(source))


# -- HDF5Data and HDF5Output --------------------------------------------------------------


def hdf5_layer(tmp_path, rows, more="batch_size: 4", tops=("data", "label", "extra")):
    stream = np.random.RandomState(1)
    names = []
    for i, count in enumerate(rows):
        arrays = {
            "data": stream.standard_normal((count, 2, 3, 4)),
            "label": stream.randint(0, 9, (count,)),
            "extra": stream.standard_normal((count, 5)).astype(np.float32),
        }
        names.append(files.write_hdf5(tmp_path / f"{i}.h5", **arrays))
    (tmp_path / "list.txt").write_text("\n".join(names) + "\n")
    source = tmp_path / "list.txt"
    return layer("HDF5Data", f'hdf5_data_param {{ source: "{source}" {more} }}', tops)


@pytest.mark.parametrize("rows", [[7], [4], [1], [3, 5, 1], [2, 2]])
def test_hdf5_data_agree(tmp_path, rows):
    agree("HDF5Data", hdf5_layer(tmp_path, rows), times=5)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_hdf5_data_of_solvers_that_train_together_agree(tmp_path, phase):
    text = hdf5_layer(tmp_path, [3, 4], tops=("extra",))
    agree("HDF5Data, solvers", text, phase=phase, rank=1, solvers=2, times=4)


def test_shuffled_hdf5_data_are_read_whole_in_both(tmp_path):
    text = hdf5_layer(tmp_path, [3, 5], "batch_size: 8 shuffle: true", ("extra",))
    found = {s: both.run(s, "batches", {"prototxt": text, "times": 3}) for s in both.SIDES}
    rows = [sorted(map(tuple, found[side][f"{i} extra"])) for side in both.SIDES for i in range(3)]
    assert all(one == rows[0] for one in rows)


def test_both_refuse_to_transform_hdf5_data(tmp_path):
    text = hdf5_layer(tmp_path, [3])
    refuse(text[:-1] + "transform_param { scale: 2 } }")


def test_both_refuse_hdf5_data_without_the_dataset(tmp_path):
    refuse(hdf5_layer(tmp_path, [3], tops=("data", "nothing")))


@pytest.mark.parametrize("shapes", [[(2, 3), (2,)], [(2, 3, 4, 5), (2, 1)], [(1,), (1, 2, 3)]])
def test_hdf5_output_agrees(shapes):
    dims = [" ".join(f"dim: {d}" for d in shape) for shape in shapes]
    text = (
        'layer { name: "i" type: "Input" top: "a" top: "b" input_param { '
        f"shape {{ {dims[0]} }} shape {{ {dims[1]} }} }} }} "
        'layer { name: "o" type: "HDF5Output" bottom: "a" bottom: "b" '
        'hdf5_output_param { file_name: "out.h5" } }'
    )
    stream = np.random.RandomState(0)
    arrays = {n: stream.standard_normal(s).astype("f4") for n, s in zip("ab", shapes, strict=True)}
    agree("HDF5Output", text, "hdf5_output", arrays)


# -- MemoryData ---------------------------------------------------------------------------

MEMORY = layer("MemoryData", "memory_data_param { batch_size: 2 channels: 3 height: 4 width: 5 }")
ARRAYS = {
    "data": np.random.RandomState(0).standard_normal((6, 3, 4, 5)).astype(np.float32),
    "labels": np.arange(6, dtype=np.float32),
}


def test_arrays_in_memory_agree():
    agree("MemoryData", MEMORY, "memory_batches", ARRAYS, times=8)


def test_arrays_that_are_refused_agree():
    agree("MemoryData, refusals", MEMORY, "refused_arrays", ARRAYS)


def test_both_refuse_memory_data_without_arrays():
    refuse(MEMORY)


def test_both_refuse_memory_data_without_a_size():
    refuse(MEMORY.replace("width: 5", ""))
