"""Data: databases of Datums, what is random, resuming, broken databases."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import caffe
from caffe import ranks
from caffe.engine import InputError
from tests.helpers import data_files as files
from tests.helpers.processes import wait_until


def counted(count, height=4, width=5):
    """Datums whose every byte is their number."""
    return [files.datum(np.full((1, height, width), i, np.uint8), i) for i in range(count)]


def text(more="batch_size: 3", transform="", backend="LMDB", tops='top: "data" top: "label"'):
    return (
        f'layer {{ name: "d" type: "Data" {tops} data_param {{ source: "db" backend: {backend} '
        f"{more} }} transform_param {{ {transform} }} }}"
    )


def labels(net, times):
    found = []
    for _ in range(times):
        net.forward()
        found += net.blobs["label"].data.astype(int).tolist()
    return found


@pytest.fixture
def db(tmp_path):
    """db(datums) -> an LMDB named db in the current folder."""
    return lambda datums: files.write_lmdb(tmp_path / "db", datums)


@pytest.fixture
def one_of_two():
    """This process is solver 1 of 2."""
    ranks.set_solver_count(2)
    ranks.set_solver_rank(1)
    yield
    ranks.set_solver_count(1)
    ranks.set_solver_rank(0)


def test_batches_follow_the_keys_and_go_round(db, make):
    db(counted(7))
    net = make(text())
    assert net.blobs["data"].data.shape == (3, 1, 4, 5)
    assert labels(net, 4) == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4]
    np.testing.assert_array_equal(net.blobs["data"].data[:, 0, 0, 0], [2, 3, 4])


def test_every_second_item_is_for_the_second_of_two_solvers(db, make, one_of_two):
    db(counted(7))
    assert labels(make(text(), caffe.TRAIN), 3) == [1, 3, 5, 0, 2, 4, 6, 1, 3]
    assert labels(make(text(), caffe.TEST), 1) == [0, 1, 2]


def test_rand_skip_begins_at_a_random_item(db, make):
    db(counted(7))
    starts = {labels(make(text("batch_size: 1 rand_skip: 4")), 1)[0] for _ in range(40)}
    assert starts == {0, 1, 2, 3}


def test_two_nets_read_one_database_at_once(db, make):
    db(counted(4))
    first, second = make(text()), make(text())
    assert labels(first, 2) == labels(second, 2) == [0, 1, 2, 3, 0, 1]
    del first, second
    assert labels(make(text()), 1) == [0, 1, 2]
    wait_until(lambda: not files.open_databases("."))  # the thread that reads ahead ends


def test_the_same_seed_gives_the_same_crops(db, make):
    db([files.datum(files.pixels(i, 30, 9, 1).reshape(3, 10, 9)) for i in range(3)])
    seen = []
    for seed in (3, 3, 4):
        caffe.set_random_seed(seed)
        net = make(text(transform="crop_size: 4 mirror: true"), caffe.TRAIN)
        found = []
        for _ in range(3):
            net.forward()
            found.append(net.blobs["data"].data.copy())
        seen.append(np.stack(found))
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (seen[0] != seen[2]).any()


def test_a_restored_state_goes_on_with_the_items_and_crops_it_would_have_had(db, make):
    db([files.datum(files.pixels(i, 30, 9, 1).reshape(3, 10, 9), i) for i in range(5)])
    prototxt = text("batch_size: 3 rand_skip: 4", "crop_size: 4 mirror: true")
    net, other = make(prototxt, caffe.TRAIN), make(prototxt, caffe.TRAIN)
    for _ in range(4):
        net.forward()
    state = json.loads(json.dumps(net.layer_dict["d"].state()))
    other.forward()
    other.layer_dict["d"].restore_state(state)
    for _ in range(3):
        net.forward(), other.forward()
        for name in net.blobs:
            np.testing.assert_array_equal(net.blobs[name].data, other.blobs[name].data)


@pytest.mark.parametrize("state", [{}, {"items": -1, "skip": 0}, {"items": "1", "skip": 0}])
def test_a_state_that_is_none_is_refused(db, make, state):
    db(counted(3))
    with pytest.raises((KeyError, ValueError)):
        make(text()).layer_dict["d"].restore_state(state)


def test_training_that_is_resumed_reads_on_where_it_was(db, make_solver):
    db(counted(7))
    net = text("batch_size: 2", "scale: 0.1") + (
        'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" '
        "inner_product_param { num_output: 7 } } "
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }'
    )
    settings = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "s" display: 0'
    solver = make_solver(net, settings)
    solver.step(3)
    solver.snapshot()
    solver.step(2)
    resumed = make_solver(net, settings, seed=5)
    resumed.restore("s_iter_3.solverstate")
    resumed.step(2)
    weights = [s.net.params["ip"][0].data for s in (solver, resumed)]
    np.testing.assert_array_equal(*weights)


def refused(make, *words, prototxt=None, forward=False, phase=caffe.TEST):
    """The net is refused in one line that names the layer and these words."""
    with pytest.raises(InputError) as error:
        net = make(prototxt or text(), phase)
        if forward:
            for _ in range(5):
                net.forward()
    message = str(error.value)
    assert "\n" not in message and "layer 'd' (Data)" in message
    assert all(word in message for word in words), message


def test_a_missing_database_is_reported(make):
    refused(make, "cannot read db", "no such folder")


def test_a_file_where_the_database_should_be_is_reported(make, tmp_path):
    (tmp_path / "db").write_text("")
    refused(make, "cannot read db", "it is empty, not the folder of a database")


def test_a_folder_that_is_no_lmdb_is_reported(make, tmp_path):
    files.need_lmdb()
    (tmp_path / "db").mkdir()
    refused(make, "db as LMDB")
    (tmp_path / "db" / "data.mdb").write_bytes(bytes(8192))
    refused(make, "db as LMDB")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_lmdb_is_reported(db, make, tmp_path, share):
    db(counted(50, 60, 60))
    size = os.path.getsize(tmp_path / "db" / "data.mdb")
    os.truncate(tmp_path / "db" / "data.mdb", int(size * share))
    refused(make, "db")


def test_an_empty_database_is_reported(db, make):
    db([])
    refused(make, "db: the database is empty")


def test_a_value_that_is_no_datum_is_reported(db, make):
    db([*counted(4), b"\xff\xff\xff"])
    refused(make, "db: item '00000004'", "no Datum", forward=True)


def test_a_datum_of_another_size_than_it_says_is_reported(db, make):
    wrong = files.datum(np.zeros((1, 4, 5), np.uint8))
    wrong.height = 2**30
    db([wrong])
    refused(make, "item '00000000'", "(1, 1073741824, 5) with 20 values")


def test_a_datum_of_another_size_than_its_batch_is_reported(db, make):
    db([*counted(4), *counted(1, 4, 6)])
    refused(make, "item '00000004' is 4 × 6", "4 × 5", forward=True)


def test_a_datum_smaller_than_the_crop_is_reported(db, make):
    db([*counted(4), *counted(1, 2, 5)])
    crop = text(transform="crop_size: 3")
    refused(make, "crop_size 3", "item '00000004'", "2 × 5", prototxt=crop, forward=True)


def test_a_truncated_picture_is_reported(db, make):
    whole = files.encoded(files.pixels(0, 30, 30), "JPEG")
    db([files.encoded_datum(whole[: len(whole) // 2])])
    refused(make, "item '00000000'", "truncated")


def test_an_old_layers_own_fields_are_honoured(db, make):
    db(counted(3))
    net = make(
        'layers { name: "d" type: DATA top: "data" top: "label" data_param { source: "db" '
        "backend: LMDB batch_size: 3 scale: 0.5 crop_size: 2 } }"
    )
    net.forward()
    np.testing.assert_array_equal(net.blobs["data"].data[:, 0, 0, 0], [0, 0.5, 1])
    assert net.blobs["data"].data.shape == (3, 1, 2, 2)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ("", "batch_size"),
        ("batch_size: 1 prefetch: 0", "prefetch"),
        ("batch_size: 99999999", "fit"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(db, make, more, word):
    db(counted(3))
    refused(make, word, prototxt=text(more))


def test_leveldb_without_its_package_is_reported(make, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "plyvel", None)
    (tmp_path / "db").mkdir()
    refused(make, "pip install plyvel", prototxt=text(backend="LEVELDB"))


def test_a_leveldb_is_read(make, tmp_path):
    pytest.importorskip("plyvel", reason="LevelDB needs the package plyvel")
    files.write_leveldb(tmp_path / "db", counted(4))
    net = make(text(backend="LEVELDB"))
    assert labels(net, 2) == [0, 1, 2, 3, 0, 1]
    assert labels(make(text(backend="LEVELDB")), 1) == [0, 1, 2]


def test_a_folder_that_is_no_leveldb_is_reported(make, tmp_path):
    pytest.importorskip("plyvel", reason="LevelDB needs the package plyvel")
    (tmp_path / "db").mkdir()
    refused(make, "db as LevelDB", prototxt=text(backend="LEVELDB"))


def test_a_database_of_the_other_kind_is_told_apart(db, make, tmp_path):
    db(counted(2))
    refused(make, "db is an LMDB: say backend: LMDB", prototxt=text(backend="LEVELDB"))
    (tmp_path / "db" / "data.mdb").rename(tmp_path / "db" / "CURRENT")
    refused(make, "db is a LevelDB: say backend: LEVELDB", prototxt=text())
