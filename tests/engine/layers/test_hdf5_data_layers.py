"""HDF5Data and HDF5Output: which rows come, what is random, resuming, broken files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import caffe
from caffe import ranks
from caffe.engine import Error, InputError
from caffe.layers import hdf5_layers
from tests.helpers import data_files as files
from tests.helpers.emulated_gpu import emulated_gpus
from tests.helpers.layer_runs import Run, pattern

TOPS = 'top: "data" top: "label"'


def text(more="batch_size: 3", tops=TOPS, source='source: "list.txt"', rest=""):
    param = f"hdf5_data_param {{ {source} {more} }}"
    return f'layer {{ name: "d" type: "HDF5Data" {tops} {param} {rest} }}'


def numbered(first, count):
    """Rows `first`, `first` + 1, ...: each holds its number, in its label a hundred more."""
    number = np.arange(first, first + count)
    return {"data": np.stack([number, -number], axis=1), "label": number + 100.0}


@pytest.fixture
def write_list(tmp_path):
    """write_list(counts): files of so many numbered rows each, and list.txt, which lists them."""

    def write_list(counts, folder=tmp_path):
        names, first = [], 0
        for i, count in enumerate(counts):
            names.append(files.write_hdf5(folder / f"{i}.h5", **numbered(first, count)))
            first += count
        (folder / "list.txt").write_text("\n".join(names) + "\n")
        return str(folder / "list.txt")

    return write_list


def numbers(batches):
    """The rows' numbers, from batches of `numbered`."""
    found = np.concatenate([batch["data"] for batch in batches])
    np.testing.assert_array_equal(found[:, 1], -found[:, 0])
    labels = np.concatenate([batch["label"] for batch in batches])
    np.testing.assert_array_equal(labels, found[:, 0] + 100)
    return found[:, 0].astype(int).tolist()


def test_rows_come_file_after_file_and_round(write_list, read):
    write_list([2, 3])
    assert numbers(read(text(), 4)) == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(1, 7), st.integers(1, 3))
def test_any_files_in_any_batches_are_all_rows_in_order(counts, batch, times):
    with tempfile.TemporaryDirectory() as folder:
        names = [
            files.write_hdf5(f"{folder}/{i}.h5", **numbered(sum(counts[:i]), count))
            for i, count in enumerate(counts)
        ]
        Path(folder, "list.txt").write_text(" ".join(names))
        more = f"batch_size: {batch}"
        Path(folder, "net").write_text(text(more, source=f'source: "{folder}/list.txt"'))
        net = caffe.Net(f"{folder}/net", caffe.TEST)
        found = []
        for _ in range(times):
            net.forward()
            found += net.blobs["label"].data.tolist()
        net.layers[0]._ahead.close()
    assert found == [100 + i % sum(counts) for i in range(batch * times)]


def test_tops_are_the_datasets_of_their_names_in_float32(tmp_path, read):
    stream = np.random.RandomState(0)
    arrays = {
        "a": stream.standard_normal((4, 2, 1, 3)),
        "b": stream.randint(-9, 9, (4, 2, 1, 1, 3)).astype(np.int64),
        "c": stream.randint(0, 255, 4).astype(np.uint8),
    }
    (tmp_path / "list.txt").write_text(files.write_hdf5(tmp_path / "x.h5", **arrays))
    (batch,) = read(text("batch_size: 4", 'top: "b" top: "a" top: "c"'))
    for name, array in arrays.items():
        assert batch[name].dtype == np.float32
        np.testing.assert_array_equal(batch[name], array.astype(np.float32))


def test_a_file_that_is_read_in_parts_gives_the_same_rows(write_list, read, monkeypatch):
    write_list([7, 4])
    monkeypatch.setattr(hdf5_layers, "BLOCK", 3 * 12)  # three rows of three floats
    assert numbers(read(text(), 5)) == [*range(11), *range(4)]


def test_compressed_rows_are_read(tmp_path, read):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("data", data=np.zeros((50, 4)), compression="gzip")
    (tmp_path / "list.txt").write_text("x.h5")
    assert read(text("batch_size: 50", 'top: "data"'))[0]["data"].shape == (50, 4)


# -- what is random -----------------------------------------------------------------------

SHUFFLED = text("batch_size: 5 shuffle: true")


def test_a_shuffled_pass_has_every_row_once_and_is_another_each_time(write_list, read):
    write_list([2, 3])
    passes = [numbers([batch]) for batch in read(SHUFFLED, 30)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in passes)
    assert len({tuple(one) for one in passes}) > 5


def test_shuffled_rows_of_one_file_stay_together(write_list, read):
    write_list([2, 3])
    firsts = set()
    for batch in read(SHUFFLED, 30):
        of_file = [int(number >= 2) for number in numbers([batch])]
        assert of_file in ([0, 0, 1, 1, 1], [1, 1, 1, 0, 0])
        firsts.add(of_file[0])
    assert firsts == {0, 1}


def test_the_same_seed_gives_the_same_order(write_list, read):
    write_list([9])
    orders = []
    for seed in (3, 3, 4):
        caffe.set_random_seed(seed)
        orders.append(numbers(read(SHUFFLED, 4)))
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("before", [0, 1, 3, 4, 11])
@pytest.mark.parametrize("shuffle", ["false", "true"])
def test_a_restored_state_goes_on_with_the_rows_it_would_have_had(
    write_list, goes_on, before, shuffle
):
    write_list([4, 5, 3])
    goes_on(text(f"batch_size: 3 shuffle: {shuffle}"), before)


def test_a_state_beyond_rows_that_have_become_fewer_is_refused(write_list, make, tmp_path):
    write_list([8])
    net = make(text())
    net.forward(), net.forward()
    state = net.layer_dict["d"].state()
    write_list([5])
    net = make(text())
    net.layer_dict["d"].restore_state(state)
    with pytest.raises(InputError, match=r"layer 'd'.*position lies beyond the data"):
        net.forward()


# -- files that cannot be read ------------------------------------------------------------


@pytest.mark.parametrize(
    ("prototxt", "words"),
    [
        (text(""), ["batch_size is not given"]),
        (text(source=""), ["hdf5_data_param.source is not given"]),
        (text(source='source: "none"'), ["cannot read none", "No such file"]),
        (text(source='source: "."'), ["cannot read .", "folder"]),
        (text(rest="transform_param { scale: 2 }"), ["leave transform_param out"]),
        (text(rest="data_param { prefetch: 0 }"), ["data_param.prefetch is 0"]),
        (text(tops='top: "data" top: "lable"'), ["0.h5: no dataset 'lable'", "data, label"]),
        (text(tops=""), ["takes 1 to any number top blobs, is given 0"]),
    ],
)
def test_what_cannot_be_meant_is_refused(write_list, refused, prototxt, words):
    write_list([3])
    refused(prototxt, *words)


@pytest.mark.parametrize(
    ("listed", "words"),
    [("", ["list.txt", "at least 1"]), ("0.h5 gone.h5", ["list.txt", "gone.h5", "not there"])],
)
def test_a_list_without_its_files_is_refused(write_list, refused, tmp_path, listed, words):
    write_list([3])
    (tmp_path / "list.txt").write_text(listed)
    refused(text(), *words)


ROWS = {"data": np.ones((4, 2)), "label": np.ones(4)}
WRONG = {
    "fewer labels": ({"label": np.ones(3)}, ["'data' has 4 rows, 'label' has 3"]),
    "no axis": ({"label": np.float32(3)}, ["'label' has no axis of rows"]),
    "words": ({"label": np.array([b"a"] * 4)}, ["'label' holds", "not numbers"]),
    "no rows": ({"data": np.ones((0, 2)), "label": np.ones(0)}, ["have no rows"]),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_file_of_other_datasets_is_refused(refused, tmp_path, what):
    arrays, words = WRONG[what]
    (tmp_path / "list.txt").write_text(files.write_hdf5(tmp_path / "x.h5", **{**ROWS, **arrays}))
    refused(text(), "x.h5", *words)


def test_a_group_in_the_place_of_a_dataset_is_refused(refused, tmp_path):
    (tmp_path / "list.txt").write_text(files.write_hdf5(tmp_path / "x.h5", **{"data/0": [1.0]}))
    refused(text(), "x.h5: no dataset 'data'")


def test_a_dataset_that_claims_more_than_the_file_holds_is_refused(refused, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("data", (2**40, 2), chunks=(1, 2), dtype="f4")
    (tmp_path / "list.txt").write_text("x.h5")
    refused(text(tops='top: "data"'), "x.h5", "only 0 bytes")


def test_a_file_that_is_no_hdf5_is_refused(write_list, refused, tmp_path):
    write_list([3])
    (tmp_path / "0.h5").write_bytes(b"\0no HDF5" * 100)
    refused(text(), "0.h5: is no HDF5 file, or it is damaged")


def test_a_full_memory_is_not_called_damage(write_list, make, monkeypatch):
    write_list([3])
    net = make(text())

    def full(*given):
        raise MemoryError

    monkeypatch.setattr(net.layers[0].source, "row_order", full)
    with pytest.raises(Error, match="the memory is full"):
        net.forward()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused(write_list, refused, tmp_path, share):
    write_list([2000])
    os.truncate(tmp_path / "0.h5", int(os.path.getsize(tmp_path / "0.h5") * share))
    refused(text(), "0.h5", "damaged" if share else "it is empty")


def test_a_later_file_of_other_shapes_is_refused_when_it_comes(write_list, refused, tmp_path):
    write_list([2, 2])
    files.write_hdf5(tmp_path / "1.h5", data=np.ones((2, 3)), label=np.ones(2))
    refused(text(), "1.h5: rows of shapes", "(3,)", "0.h5", "(2,)", forward=1)


def test_a_file_that_changes_while_it_is_read_is_refused(write_list, make, monkeypatch, tmp_path):
    write_list([9])
    monkeypatch.setattr(hdf5_layers, "BLOCK", 3 * 12)
    net = make(text())
    source = net.layers[0].source
    rows = source.batches(dict(source.start))
    next(rows)
    files.write_hdf5(tmp_path / "0.h5", **numbered(0, 4))
    with pytest.raises(InputError, match=r"layer 'd'.*0\.h5: changed while it was read"):
        next(rows)


def test_a_shuffled_file_that_does_not_fit_into_memory_is_refused(write_list, refused, monkeypatch):
    write_list([100])
    refused_at = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 1000}
    monkeypatch.setattr(os, "sysconf", refused_at.__getitem__)
    refused(SHUFFLED, "0.h5", "to be shuffled, do not fit", "several smaller files")


# -- HDF5Output ---------------------------------------------------------------------------


def stored(path="out.h5"):
    with h5py.File(path, "r") as file:
        return {name: file[name][()] for name in file}


def output(*arrays, name="out.h5", phase=caffe.TEST):
    param = f'hdf5_output_param {{ file_name: "{name}" }}' if name else ""
    return Run("HDF5Output", param, *arrays, tops=0, phase=phase)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_out(run):
    run.layer.reshape(run.bottom, run.top)
    run.layer.forward(run.bottom, run.top)


@pytest.mark.parametrize("shape", [(3,), (3, 2), (3, 2, 4), (3, 2, 4, 5)])
def test_the_bottoms_are_stored_with_four_axes(here, shape):
    run = output(pattern(*shape), pattern(3))
    write_out(run)
    whole = (*shape, *[1] * (4 - len(shape)))
    np.testing.assert_array_equal(stored()["data"], pattern(*shape).reshape(whole))
    np.testing.assert_array_equal(stored()["label"], pattern(3).reshape(3, 1, 1, 1))


def test_each_forward_adds_its_batch_whatever_its_size(here):
    run = output(pattern(3, 2), pattern(3))
    write_out(run)
    run.bottom[0].reshape(2, 2), run.bottom[1].reshape(2)
    run.set(pattern(2, 2) + 50, pattern(2) + 50)
    write_out(run)
    expected = np.concatenate([pattern(3, 2), pattern(2, 2) + 50])
    np.testing.assert_array_equal(stored()["data"][:, :, 0, 0], expected)
    np.testing.assert_array_equal(stored()["label"].shape, (5, 1, 1, 1))


def test_what_was_there_is_kept_until_the_first_forward(here):
    write_out(output(pattern(5), pattern(5)))
    run = output(pattern(3), pattern(3))
    assert len(stored()["data"]) == 5
    write_out(run)
    assert len(stored()["data"]) == 3


@pytest.mark.parametrize("what", ["data", "same names", "text", "device", "link"])
def test_a_file_that_the_layer_has_not_written_is_refused_and_kept(here, what):
    if what == "data":
        files.write_hdf5("out.h5", old=np.ones(3))
    elif what == "same names":
        files.write_hdf5("out.h5", data=pattern(3), label=pattern(3))
    elif what == "text":
        Path("out.h5").write_text("the only copy")
    else:
        Path("out.h5").symlink_to(os.devnull if what == "device" else "nothing")
    before = Path("out.h5").read_bytes() if Path("out.h5").is_file() else None
    with pytest.raises(InputError, match="cannot write out.h5: .*give another name"):
        output(pattern(3), pattern(3))
    if before is None:
        assert Path("out.h5").is_symlink()
    else:
        assert Path("out.h5").read_bytes() == before


def test_a_file_that_came_after_the_layer_was_made_is_kept_too(here):
    run = output(pattern(3), pattern(3))
    Path("out.h5").write_text("the only copy")
    with pytest.raises(InputError, match="has written; delete it, or give another name"):
        run.forward()
    assert Path("out.h5").read_text() == "the only copy"


def test_an_empty_file_is_replaced(here):
    Path("out.h5").touch()
    write_out(output(pattern(3), pattern(3)))
    assert len(stored()["data"]) == 3


def test_the_home_folder_may_stand_before_a_name(here, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("below").mkdir()
    monkeypatch.chdir("below")
    run = Run("HDF5Output", 'hdf5_output_param { file_name: "~/out.h5" }', pattern(3), pattern(3),
              tops=0)  # fmt: skip
    write_out(run)
    assert (tmp_path / "out.h5").is_file() and not Path("~").exists()


def test_several_solvers_do_not_write_one_file(here, monkeypatch):
    monkeypatch.setattr(ranks, "_state", {"count": 2, "rank": 1, "multiprocess": True})
    with pytest.raises(InputError, match="2 solvers would write out.h5 at once.*phase: TEST"):
        output(pattern(3), pattern(3), phase=caffe.TRAIN)
    write_out(output(pattern(3), pattern(3)))
    assert len(stored()["data"]) == 3


def test_what_was_written_can_be_read_by_hdf5_data(here, read):
    write_out(output(pattern(3, 2), pattern(3)))
    Path("list.txt").write_text("out.h5")
    (batch,) = read(text())
    np.testing.assert_array_equal(batch["data"][:, :, 0, 0], pattern(3, 2))
    np.testing.assert_array_equal(batch["label"].ravel(), pattern(3))


def test_bottoms_on_the_gpu_are_stored_too(here):
    with emulated_gpus():
        caffe.set_mode_gpu()
        run = output(np.zeros((3, 2)), np.zeros(3))
        run.bottom[0].write().copy_(torch.from_numpy(pattern(3, 2)))
        run.bottom[1].write().copy_(torch.from_numpy(pattern(3)))
        assert run.bottom[0].read().is_cuda
        write_out(run)
    np.testing.assert_array_equal(stored()["data"][:, :, 0, 0], pattern(3, 2))
    np.testing.assert_array_equal(stored()["label"].ravel(), pattern(3))


@pytest.mark.parametrize(
    ("shapes", "name", "words"),
    [
        ([(3,), (3,)], "", "file_name is not given"),
        ([(3,), (3,)], "none/out.h5", r"cannot write none/out\.h5: there is no folder none"),
        ([(3,), (3,)], ".", r"cannot write \.: no regular file is there"),
        ([(3,), (2,)], "out.h5", "same batch size, not 3 and 2"),
        ([(3, 1, 1, 1, 1), (3,)], "out.h5", "bottom 'b0' has 5 axes; at most 4"),
    ],
)
def test_an_output_that_cannot_be_is_refused(here, shapes, name, words):
    with pytest.raises(InputError, match=rf"^layer 'L' \(HDF5Output\): .*{words}") as error:
        output(*[np.zeros(shape) for shape in shapes], name=name)
    assert error.value.exit_code == 2 and "\n" not in str(error.value)


def test_rows_of_another_shape_than_before_are_refused_and_the_file_is_kept(here):
    run = output(pattern(3, 2), pattern(3))
    write_out(run)
    run.bottom[0].reshape(3, 4)
    with pytest.raises(InputError, match=r"out\.h5: 'data' holds \(2, 1, 1\).*\(4, 1, 1\)"):
        write_out(run)
    np.testing.assert_array_equal(stored()["data"][:, :, 0, 0], pattern(3, 2))


def test_a_file_that_cannot_be_written_any_more_ends_with_1(here):
    run = output(pattern(3), pattern(3))
    write_out(run)
    os.unlink("out.h5")
    with pytest.raises(Error, match=r"layer 'L' \(HDF5Output\): cannot write out\.h5") as error:
        write_out(run)
    assert error.value.exit_code == 1


def test_another_file_in_its_place_is_left_as_it_is(here):
    run = output(pattern(3), pattern(3))
    write_out(run)
    Path("out.h5").write_text("something else")
    with pytest.raises(Error, match="cannot write out"):
        write_out(run)
    assert Path("out.h5").read_text() == "something else"


@pytest.mark.parametrize("first", [True, False])
def test_a_full_disk_ends_with_1_and_keeps_what_was_written(here, largest_file, first):
    run = output(pattern(100, 300), pattern(100))
    if not first:
        write_out(run)
    size = 0 if first else os.path.getsize("out.h5")
    with largest_file(size + 100_000), pytest.raises(Error, match="cannot write out") as error:
        write_out(run)
    assert error.value.exit_code == 1
    assert [len(array) for array in stored().values()] == [0 if first else 100] * 2
    write_out(run)  # there is room again
    np.testing.assert_array_equal(stored()["data"][-100:, :, 0, 0], pattern(100, 300))


def test_no_file_can_be_begun_on_a_full_disk(here, largest_file):
    run = output(pattern(3), pattern(3))
    with largest_file(10), pytest.raises(Error, match=r"layer 'L'.*cannot write out\.h5"):
        write_out(run)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.sampled_from([1, 7, 5000]))
def test_the_room_that_is_set_aside_is_enough_and_given_back(counts, width):
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/out.h5"
        run = output(pattern(counts[0], width), pattern(counts[0]), name=path)
        run.layer._begin()
        for count in counts:
            run.bottom[0].reshape(count, width), run.bottom[1].reshape(count)
            arrays = [pattern(count, width, 1, 1), pattern(count, 1, 1, 1)]
            room, before = run.layer._room_for(arrays), os.path.getsize(path)
            write_out(run)
            assert os.path.getsize(path) - before <= room
        numbers = 4 * sum(counts) * (width + 1)
        assert os.path.getsize(path) < 4 * numbers + 2**16
