"""The schema as a module: caffe.proto.caffe_pb2."""

from __future__ import annotations

import copy
import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from caffe.proto import caffe_pb2


def test_every_layer_message_is_a_class_of_the_module():
    for field in caffe_pb2.LayerParameter.DESCRIPTOR.fields:
        if field.message_type is not None:
            assert getattr(caffe_pb2, field.message_type.name).DESCRIPTOR is field.message_type


def test_enum_values_stand_where_generated_code_has_them():
    assert (caffe_pb2.TRAIN, caffe_pb2.TEST) == (0, 1)
    assert caffe_pb2.Phase.Value("TEST") == 1
    assert caffe_pb2.PoolingParameter.AVE == 1
    assert caffe_pb2.PoolingParameter.PoolMethod.Name(1) == "AVE"
    assert caffe_pb2.V1LayerParameter.LayerType.Value("DECONVOLUTION") == 39
    assert caffe_pb2.V1LayerParameter.CONVOLUTION == 4


def test_defaults_are_the_schemas():
    solver = caffe_pb2.SolverParameter()
    assert solver.average_loss == solver.iter_size == 1
    assert solver.type == "SGD" and solver.regularization_type == "L2"
    assert solver.solver_mode == caffe_pb2.SolverParameter.GPU
    assert solver.test_initialization is True and solver.snapshot_diff is False
    assert caffe_pb2.FillerParameter().type == "constant"
    assert caffe_pb2.SolverParameter.DESCRIPTOR.fields_by_name["net"].has_default_value is False


def test_float_defaults_are_float32_numbers():
    for message in caffe_pb2.DESCRIPTOR.message_types_by_name.values():
        for field in message.fields:
            if field.cpp_type == field.CPPTYPE_FLOAT and field.has_default_value:
                assert field.default_value == float(np.float32(field.default_value)), (
                    field.full_name
                )


def test_blob_numbers_are_packed():
    blob = caffe_pb2.BlobProto(data=[1, 2])
    assert blob.SerializeToString() == b"\x2a\x08\x00\x00\x80\x3f\x00\x00\x00\x40"


def test_messages_copy_compare_and_print():
    net = text_format.Parse('layer { name: "a" include { phase: TEST } }', caffe_pb2.NetParameter())
    other = copy.deepcopy(net)
    assert other == net and other is not net
    assert text_format.Parse(text_format.MessageToString(net), caffe_pb2.NetParameter()) == net


def test_unknown_fields_survive_reading_and_writing():
    raw = caffe_pb2.NetParameter(name="n").SerializeToString() + b"\xfa\x3e\x03abc"
    assert caffe_pb2.NetParameter.FromString(raw).SerializeToString() == raw


@pytest.mark.slow
def test_another_schema_of_the_same_name_does_not_clash():
    code = (
        "from google.protobuf import descriptor_pb2 as d, descriptor_pool as p\n"
        "f = d.FileDescriptorProto(name='caffe.proto', package='caffe')\n"
        "f.message_type.add(name='NetParameter')\n"
        "p.Default().AddSerializedFile(f.SerializeToString())\n"
        "from caffe.proto import caffe_pb2\n"
        "caffe_pb2.NetParameter(name='n')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_field_that_users_write_says_what_it_means():
    table = Path(caffe_pb2.__file__).with_name("schema.tsv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    upgraded = {"caffe.V0LayerParameter", "caffe.V1LayerParameter"}  # forms of before 2014
    fields = [r for r in rows if r["kind"] == "field" and r["owner"] not in upgraded]
    assert len(fields) > 300
    assert [f"{r['owner']}.{r['name']}" for r in fields if not r["meaning"]] == []
