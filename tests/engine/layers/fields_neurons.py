"""What every field of the messages of layers that work on each element by itself does."""

from __future__ import annotations

from tests.engine.layers.field_rows import IMAGE, ONE_CODE, POSITIVE, TRAINING, Elsewhere, Layers

NEEDS_BOTH = Elsewhere("engine/proto/test_proto_text.py", "test_a_missing_required_field_is_named")


def clip():
    rows = Layers("Clip", "ClipParameter", IMAGE)
    return {
        "min": [rows.differ("min: 0 max: 2", "min: 1 max: 2"), NEEDS_BOTH],
        "max": [rows.differ("min: 0 max: 2", "min: 0 max: 3"), NEEDS_BOTH],
    }


def dropout():
    rows = Layers("Dropout", "DropoutParameter", IMAGE, **TRAINING)
    return {"dropout_ratio": rows.differ("dropout_ratio: 0.2")}


def elu():
    return {"alpha": Layers("ELU", "ELUParameter", IMAGE).differ("alpha: 2")}


def exponential(kind):
    rows = Layers(kind, f"{kind}Parameter", POSITIVE / 10)
    return {name: rows.differ(f"{name}: 2") for name in ("base", "scale", "shift")}


def power():
    rows = Layers("Power", "PowerParameter", POSITIVE)
    return {name: rows.differ(f"{name}: 2") for name in ("power", "scale", "shift")}


def prelu():
    rows = Layers("PReLU", "PReLUParameter", IMAGE)
    return {
        "filler": rows.differ("filler { value: 2 }"),
        "channel_shared": rows.differ("channel_shared: true"),
    }


def relu():
    rows = Layers("ReLU", "ReLUParameter", IMAGE)
    return {
        "negative_slope": rows.differ("negative_slope: 0.5"),
        "engine": rows.alike(ONE_CODE, "engine: CUDNN", "engine: CAFFE"),
    }


def only_engine(kind):
    rows = Layers(kind, f"{kind}Parameter", IMAGE)
    return {"engine": rows.alike(ONE_CODE, "engine: CUDNN", "engine: CAFFE")}


def swish():
    return {"beta": Layers("Swish", "SwishParameter", IMAGE).differ("beta: 2")}


def threshold():
    rows = Layers("Threshold", "ThresholdParameter", IMAGE)
    return {"threshold": rows.differ("threshold: 2")}


TABLE = {
    "ClipParameter": clip,
    "DropoutParameter": dropout,
    "ELUParameter": elu,
    "ExpParameter": lambda: exponential("Exp"),
    "LogParameter": lambda: exponential("Log"),
    "PReLUParameter": prelu,
    "PowerParameter": power,
    "ReLUParameter": relu,
    "SigmoidParameter": lambda: only_engine("Sigmoid"),
    "SwishParameter": swish,
    "TanHParameter": lambda: only_engine("TanH"),
    "ThresholdParameter": threshold,
}
