"""Every field of the schema acts, is refused, or by its nature changes nothing.

The tables are in `fields_*.py`. A field that none of them names makes a test fail.
"""

from __future__ import annotations

import pytest

import caffe
from caffe import command
from caffe.proto import caffe_pb2
from tests.engine.layers import (
    fields_data,
    fields_layers,
    fields_losses,
    fields_nets,
    fields_neurons,
)
from tests.engine.layers.field_rows import logged
from tests.helpers.net_texts import data, layer

MESSAGES = caffe_pb2.DESCRIPTOR.message_types_by_name
OTHER_TESTS = {
    "BlobProto", "BlobProtoVector", "BlobShape", "Datum", "SolverState",  # test_wire.py and others
    "V0LayerParameter", "V1LayerParameter",  # test_upgrade.py
}  # fmt: skip
ONES = "inner_product_param { num_output: 1 weight_filler { value: 1 } }"
TABLES = (fields_layers, fields_neurons, fields_losses, fields_data, fields_nets)
TABLE = {
    f"{message}.{field}": rows if isinstance(rows, list) else [rows]
    for module in TABLES
    for message, make in module.TABLE.items()
    for field, rows in make().items()
}


def test_every_field_of_the_schema_is_in_the_table():
    described = {name for module in TABLES for name in module.TABLE}
    assert described | OTHER_TESTS == set(MESSAGES)
    fields = {
        f"{name}.{field.name}"
        for name in described
        for field in MESSAGES[name].fields
        # A layer's own messages have their fields in the table.
        if not (name == "LayerParameter" and field.name.endswith("_param"))
    }
    assert sorted(fields) == sorted(TABLE)


@pytest.mark.slow
@pytest.mark.parametrize("field", TABLE)
def test_a_field_has_its_effect_or_is_refused(field, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert TABLE[field]
    left_out = None
    for row in TABLE[field]:
        try:
            row.check(field.partition(".")[2])
        except pytest.skip.Exception as reason:  # a package is missing: the other rows are checked
            left_out = reason
    if left_out is not None:
        raise left_out


def test_device_id_is_the_gpu_of_the_command(write, monkeypatch, capfd):
    monkeypatch.setattr("caffe.compute.device.cuda_device_count", lambda: 1)
    write(f"{fields_nets.BASE} solver_mode: GPU device_id: 3", "solver.prototxt")
    with pytest.raises(SystemExit):
        command.main(["train", "-solver", "solver.prototxt"])
    assert "solver_mode: GPU: no such GPU: 3" in capfd.readouterr().err


# What BVLC Caffe 1.0 logs of a forward and a backward pass with `debug_info` in the net.
BVLC_DEBUG = """\
    [Forward] Layer data, top blob data data: 1
    [Forward] Layer ip, top blob ip data: 2
    [Forward] Layer ip, param blob 0 data: 1
    [Forward] Layer ip, param blob 1 data: 0
    [Forward] Layer sum, top blob sum data: 2
    [Backward] Layer sum, bottom blob ip diff: 1
    [Backward] Layer ip, param blob 0 diff: 1
    [Backward] Layer ip, param blob 1 diff: 1
"""


def test_debug_info_of_a_net_is_logged_until_a_solver_decides(write):
    write(
        "debug_info: true " + data(1, 2) + layer("ip", "InnerProduct", "data", more=ONES)
        + layer("sum", "Reduction", "ip", more="loss_weight: 1")
    )  # fmt: skip
    with logged() as lines:
        net = caffe.Net("net.prototxt", caffe.TRAIN)
        net.blobs["data"].data[...] = 1
        net.forward(), net.backward()
    assert lines() == BVLC_DEBUG.splitlines()
    write(f"{fields_nets.BASE} test_iter: 1 test_interval: 1", "solver.prototxt")
    solver = caffe.get_solver("solver.prototxt")
    with logged() as lines:
        solver.net.forward()
        solver.test_nets[0].forward()
    assert lines() == [line.replace(": 2", ": 0").replace("data data: 1", "data data: 0")
                       for line in BVLC_DEBUG.splitlines()[:5]]  # fmt: skip
    with logged() as lines:
        solver.step(1)
    assert not any("[Forward]" in line for line in lines())
