"""What every field of the layers' own messages does; `field_rows` says what the rows mean."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.engine.layers.field_rows import (
    CLASSES,
    IMAGE,
    ONE_CODE,
    POSITIVE,
    SCORES,
    TRAINING,
    Layers,
    Pair,
)
from tests.helpers.layer_runs import distinct, pattern

FILLERS = 'weight_filler { type: "gaussian" } bias_filler { type: "uniform" }'
_FOLDER = Path(tempfile.mkdtemp(prefix="every-field-"))
atexit.register(shutil.rmtree, _FOLDER, True)


(_FOLDER / "every_field_layers.py").write_text(
    "import caffe\n\n\n"
    "class Plus(caffe.Layer):\n"
    "    amount = 1\n\n"
    "    def setup(self, bottom, top):\n"
    "        self.amount = float(self.param_str or self.amount)\n\n"
    "    def reshape(self, bottom, top):\n"
    "        top[0].reshape(*bottom[0].data.shape)\n\n"
    "    def forward(self, bottom, top):\n"
    "        top[0].data[...] = bottom[0].data + self.amount\n\n"
    "    def backward(self, top, propagate_down, bottom):\n"
    "        bottom[0].diff[...] = top[0].diff\n\n\n"
    "class PlusTwo(Plus):\n"
    "    amount = 2\n"
)
(_FOLDER / "every_field_others.py").write_text(
    "from every_field_layers import PlusTwo\n\n\nclass Plus(PlusTwo):\n    pass\n"
)
sys.path.append(str(_FOLDER))


def accuracy():
    rows = Layers("Accuracy", "AccuracyParameter", SCORES, CLASSES)
    deep = Layers("Accuracy", "AccuracyParameter", (2, 4, 4), np.arange(8).reshape(2, 4) % 3)
    return {
        "top_k": rows.differ("top_k: 2"),
        "axis": deep.differ("axis: 2"),
        "ignore_label": rows.differ("ignore_label: 1"),
    }


def argmax():
    rows = Layers("ArgMax", "ArgMaxParameter", IMAGE)
    return {
        "out_max_val": rows.differ("out_max_val: true"),
        "top_k": rows.differ("top_k: 2"),
        "axis": rows.differ("axis: 1"),
    }


def batch_norm():
    rows = Layers("BatchNorm", "BatchNormParameter", IMAGE, **TRAINING)
    return {
        "use_global_stats": rows.differ("use_global_stats: true"),
        "moving_average_fraction": rows.differ("moving_average_fraction: 0.5"),
        "eps": rows.differ("eps: 0.5"),
    }


def bias():
    rows = Layers("Bias", "BiasParameter", IMAGE)
    return {
        "axis": rows.differ("axis: 2"),
        "num_axes": rows.differ("num_axes: 2"),
        "filler": rows.differ("filler { value: 2 }"),
    }


def concat():
    rows = Layers("Concat", "ConcatParameter", IMAGE, IMAGE)
    return {"concat_dim": rows.differ("concat_dim: 2"), "axis": rows.differ("axis: 2")}


def convolution():
    filled = f"num_output: 4 {FILLERS}"
    rows = Layers("Convolution", "ConvolutionParameter", IMAGE, common=f"kernel_size: 2 {filled}")
    bare = Layers("Convolution", "ConvolutionParameter", IMAGE, common=filled)
    back = Layers("Deconvolution", "ConvolutionParameter", IMAGE, common=f"kernel_size: 2 {filled}")
    empty = Layers("Convolution", "ConvolutionParameter", IMAGE, common="kernel_size: 1")
    im2col = Layers("Im2col", "ConvolutionParameter", IMAGE, common="kernel_size: 2")
    both = {name: [rows.differ(text), back.differ(text)] for name, text in {
        "pad": "pad: 1", "stride": "stride: 2", "dilation: 2": "dilation: 2", "group": "group: 2",
        "bias_term": "bias_term: false",
    }.items()}  # fmt: skip
    dilation = both.pop("dilation: 2")
    sides = {
        f"{stem}_{axis}": bare.differ(
            f"{fixed} {stem}_h: {2 - (axis == 'h')} {stem}_w: {2 - (axis == 'w')}",
            f"{fixed} {stem}_h: 2 {stem}_w: 2",
        )
        for stem, fixed in (("kernel", ""), ("stride", "kernel_size: 3"), ("pad", "kernel_size: 3"))
        for axis in "hw"
    }
    for name, text in (("group", "group: 2"), ("bias_term", "bias_term: true")):
        both[name].append(im2col.warn(text, name + " has no effect"))
    for name in ("stride", "pad"):
        both[name].append(im2col.differ(f"{name}: 2"))
    one_output = f"kernel_size: 1 {FILLERS}"
    return {
        **both,
        **sides,
        "dilation": [*dilation, im2col.differ("dilation: 2")],
        "num_output": [
            Layers("Convolution", "ConvolutionParameter", IMAGE, common=one_output).differ(
                "num_output: 2", "num_output: 3"
            ),
            im2col.warn("num_output: 1", "num_output has no effect"),
        ],
        "kernel_size": bare.differ("kernel_size: 1", "kernel_size: 2"),
        "weight_filler": [
            empty.differ("num_output: 1 weight_filler { value: 2 }", "num_output: 1"),
            im2col.warn("weight_filler { }", "weight_filler has no effect"),
        ],
        "bias_filler": [
            empty.differ("num_output: 1 bias_filler { value: 2 }", "num_output: 1"),
            im2col.warn("bias_filler { }", "bias_filler has no effect"),
        ],
        "axis": [rows.differ("axis: 2"), back.differ("axis: 2"), im2col.differ("axis: 0")],
        "engine": rows.alike(ONE_CODE, "engine: CUDNN", "engine: CAFFE"),
        "force_nd_im2col": rows.alike(ONE_CODE, "force_nd_im2col: true"),
    }


def crop():
    rows = Layers("Crop", "CropParameter", IMAGE, (2, 3, 3, 4))
    return {"axis": rows.differ("axis: 1"), "offset": rows.differ("offset: 1")}


def dummy_data():
    old = Layers("DummyData", "DummyDataParameter")
    four = "num: 2 channels: 2 height: 2 width: 2"
    sides = {
        name: old.differ(four.replace(f"{name}: 2", f"{name}: 1"), four)
        for name in ("num", "channels", "height", "width")
    }
    shape = "shape { dim: 2 }"
    return {
        **sides,
        "shape": [old.differ("shape { dim: 3 }", shape), old.refuse(f"{shape} num: 1", "not both")],
        "data_filler": old.differ(f"{shape} data_filler {{ value: 1 }}", shape),
    }


def eltwise():
    rows = Layers("Eltwise", "EltwiseParameter", pattern(2, 3), pattern(3, 2).reshape(2, 3))
    prod = Layers("Eltwise", "EltwiseParameter", pattern(3, 4), np.ones((3, 4)),
                  common="operation: PROD")  # fmt: skip
    return {
        "operation": [rows.differ(f"operation: {name}") for name in ("PROD", "MAX")],
        "coeff": [rows.differ("coeff: 1 coeff: 2"), prod.refuse("coeff: 1 coeff: 2", "SUM")],
        "stable_prod_grad": prod.differ("stable_prod_grad: false"),
    }


def embed():
    rows = Layers("Embed", "EmbedParameter", CLASSES)
    sizes = "num_output: 2 input_dim: 4"
    return {
        "num_output": rows.differ("num_output: 3 input_dim: 4", sizes),
        "input_dim": rows.differ("num_output: 2 input_dim: 5", sizes),
        "bias_term": rows.differ(f"{sizes} bias_term: false", sizes),
        "weight_filler": rows.differ(f"{sizes} weight_filler {{ value: 1 }}", sizes),
        "bias_filler": rows.differ(f"{sizes} bias_filler {{ value: 1 }}", sizes),
    }


def filler():
    text = "shape { dim: 6 dim: 5 } data_filler { %s }"
    every = Layers("DummyData", "DummyDataParameter")

    def differ(one, other):
        return every.differ(text % one, text % other)

    kinds = ("constant", "gaussian", "xavier", "msra", "positive_unitball", "uniform")
    return {
        "type": [
            *[differ(f'type: "{a}"', f'type: "{b}"') for a, b in zip(kinds, kinds[1:])],
            every.refuse(text % 'type: "bilinear"', "bilinear"),
            every.refuse(text % 'type: "other"', "unknown filler type"),
        ],
        "value": differ("value: 2", ""),
        **{
            name: differ(f'type: "uniform" {name}: 0.5', 'type: "uniform"')
            for name in ("min", "max")
        },
        **{
            name: differ(f'type: "gaussian" {name}: 2', 'type: "gaussian"')
            for name in ("mean", "std")
        },
        "sparse": [
            differ('type: "gaussian" sparse: 2', 'type: "gaussian"'),
            every.refuse(text % 'type: "xavier" sparse: 2', "only 'gaussian'"),
        ],
        "variance_norm": [
            differ(f'type: "{kind}" variance_norm: {norm}', f'type: "{kind}"')
            for kind in ("xavier", "msra")
            for norm in ("FAN_OUT", "AVERAGE")
        ],
    }


def flatten():
    rows = Layers("Flatten", "FlattenParameter", IMAGE)
    return {"axis": rows.differ("axis: 2"), "end_axis": rows.differ("end_axis: 2")}


def inner_product():
    rows = Layers("InnerProduct", "InnerProductParameter", IMAGE, common=FILLERS)
    bare = Layers("InnerProduct", "InnerProductParameter", IMAGE, common="num_output: 3")
    return {
        "num_output": rows.differ("num_output: 3", "num_output: 2"),
        **{
            name: rows.differ(f"num_output: 3 {text}", "num_output: 3")
            for name, text in {
                "bias_term": "bias_term: false",
                "axis": "axis: 2",
                "transpose": "transpose: true",
            }.items()
        },
        "weight_filler": bare.differ("weight_filler { value: 1 }"),
        "bias_filler": bare.differ("bias_filler { value: 1 }"),
    }


def input_():
    rows = Layers("Input", "InputParameter")
    return {"shape": rows.differ("shape { dim: 2 }", "shape { dim: 3 }")}


def lrn():
    rows = Layers("LRN", "LRNParameter", IMAGE)
    within = Layers("LRN", "LRNParameter", IMAGE, common="norm_region: WITHIN_CHANNEL")
    return {
        "local_size": [rows.differ("local_size: 3"), within.differ("local_size: 3")],
        "alpha": [rows.differ("alpha: 2"), within.differ("alpha: 2")],
        "beta": [rows.differ("beta: 2"), within.differ("beta: 2")],
        "norm_region": rows.differ("norm_region: WITHIN_CHANNEL"),
        "k": [rows.differ("k: 2"), within.warn("k: 2", "k 2 has no effect")],
        "engine": rows.alike(ONE_CODE, "engine: CUDNN", "engine: CAFFE"),
    }


"""Losses that know no LossParameter."""


def memory_data():
    rows = Layers("MemoryData", "MemoryDataParameter", tops=2)
    sizes = ("batch_size", "channels", "height", "width")
    whole = " ".join(f"{name}: 2" for name in sizes)
    return {
        name: [
            rows.differ(whole.replace(f"{name}: 2", f"{name}: 3"), whole),
            rows.refuse(whole.replace(f"{name}: 2", f"{name}: 0"), "all have to be given"),
        ]
        for name in sizes
    }


def mvn():
    rows = Layers("MVN", "MVNParameter", IMAGE)
    return {
        "normalize_variance": rows.differ("normalize_variance: false"),
        "across_channels": rows.differ("across_channels: true"),
        "eps": rows.differ("eps: 0.5"),
    }


def parameter():
    rows = Layers("Parameter", "ParameterParameter")
    return {"shape": rows.differ("shape { dim: 2 }", "shape { dim: 3 }")}


def pooling():
    rows = Layers("Pooling", "PoolingParameter", POSITIVE, common="kernel_size: 3")
    bare = Layers("Pooling", "PoolingParameter", POSITIVE)
    noisy = Layers("Pooling", "PoolingParameter", POSITIVE, common="kernel_size: 3", **TRAINING)
    sides = {
        f"{stem}_{axis}": bare.differ(
            f"{fixed} {stem}_h: {2 - (axis == 'h')} {stem}_w: {2 - (axis == 'w')}",
            f"{fixed} {stem}_h: 2 {stem}_w: 2",
        )
        for stem, fixed in (("kernel", ""), ("stride", "kernel_size: 3"), ("pad", "kernel_size: 3"))
        for axis in "hw"
    }
    return {
        **sides,
        "pool": [rows.differ("pool: AVE"), rows.differ("pool: STOCHASTIC"),
                 noisy.differ("pool: STOCHASTIC", "pool: AVE")],
        "kernel_size": bare.differ("kernel_size: 3", "kernel_size: 2"),
        "stride": rows.differ("stride: 2"),
        "pad": [rows.differ("pad: 1"), rows.refuse("pad: 1 pool: STOCHASTIC", "pad 0 only")],
        "engine": rows.alike(ONE_CODE, "engine: CUDNN", "engine: CAFFE"),
        "global_pooling": bare.differ("global_pooling: true", "kernel_size: 3"),
        "round_mode": rows.differ("stride: 2 round_mode: FLOOR", "stride: 2"),
    }  # fmt: skip


def python():
    rows = Layers("Python", "PythonParameter", IMAGE)
    named = 'module: "every_field_layers" layer: "Plus"'
    return {
        "module": rows.differ(named.replace("_layers", "_others"), named),
        "layer": rows.differ(named.replace("Plus", "PlusTwo"), named),
        "param_str": rows.differ(f'{named} param_str: "3"', named),
        "share_in_parallel": rows.alike(
            "BVLC Caffe 1.0 reads it nowhere: each process has layers of its own",
            f"{named} share_in_parallel: true",
            named,
        ),
    }


def recurrent():
    cont = np.array([[0, 1], [1, 1], [1, 0]])
    bottoms, states = ((3, 2, 4), cont), {"LSTM": 2, "RNN": 1}
    found: dict = {}
    for kind, number in states.items():
        rows = Layers(kind, "RecurrentParameter", *bottoms, common=FILLERS)
        bare = Layers(kind, "RecurrentParameter", *bottoms, common="num_output: 3")
        exposed = Layers(
            kind, "RecurrentParameter", *bottoms, *[(1, 2, 3)] * number,
            common="num_output: 3", tops=1 + number,
        )  # fmt: skip
        for name, row in {
            "num_output": rows.differ("num_output: 2", "num_output: 3"),
            "weight_filler": bare.differ("weight_filler { value: 1 }"),
            "bias_filler": bare.differ("bias_filler { value: 1 }"),
            "debug_info": bare.differ("debug_info: true"),
            "expose_hidden": Pair(bare.one(""), exposed.one("expose_hidden: true")),
        }.items():
            found.setdefault(name, []).append(row)
    return found


def reduction():
    rows = Layers("Reduction", "ReductionParameter", IMAGE)
    return {
        "operation": [rows.differ(f"operation: {name}") for name in ("ASUM", "SUMSQ", "MEAN")],
        "axis": rows.differ("axis: 1"),
        "coeff": rows.differ("coeff: 2"),
    }


def reshape():
    rows = Layers("Reshape", "ReshapeParameter", IMAGE)
    flat = "shape { dim: -1 }"
    return {
        "shape": rows.differ(flat, "shape { dim: 2 dim: -1 }"),
        "axis": rows.differ(f"{flat} axis: 1", flat),
        "num_axes": rows.differ(f"{flat} num_axes: 2", flat),
    }


def scale():
    rows = Layers("Scale", "ScaleParameter", IMAGE)
    return {
        "axis": rows.differ("axis: 2"),
        "num_axes": rows.differ("num_axes: 2"),
        "filler": rows.differ("filler { value: 2 }"),
        "bias_term": rows.differ("bias_term: true"),
        "bias_filler": rows.differ("bias_term: true bias_filler { value: 2 }", "bias_term: true"),
    }


def slice_():
    rows = Layers("Slice", "SliceParameter", (2, 4, 4), tops=2)
    return {
        "slice_dim": rows.differ("slice_dim: 2"),
        "slice_point": rows.differ("slice_point: 1"),
        "axis": rows.differ("axis: 2"),
    }


def softmax():
    rows = Layers("Softmax", "SoftmaxParameter", (2, 4, 4))
    labels = np.arange(8).reshape(2, 4) % 4
    loss = Layers("SoftmaxWithLoss", "SoftmaxParameter", (2, 4, 4), labels)
    return {
        "axis": [rows.differ("axis: 2"), loss.differ("axis: 2")],
        "engine": rows.alike(ONE_CODE, "engine: CUDNN", "engine: CAFFE"),
    }


def spp():
    rows = Layers("SPP", "SPPParameter", np.abs(distinct(2, 2, 4, 4)))
    return {
        "pyramid_height": rows.differ("pyramid_height: 2", "pyramid_height: 1"),
        "pool": [
            rows.differ(f"pyramid_height: 2 pool: {pool}", "pyramid_height: 2")
            for pool in ("AVE", "STOCHASTIC")
        ],
        "engine": rows.alike(
            ONE_CODE, "pyramid_height: 2 engine: CUDNN", "pyramid_height: 2 engine: CAFFE"
        ),
    }


def tile():
    rows = Layers("Tile", "TileParameter", IMAGE)
    return {
        "axis": rows.differ("tiles: 2 axis: 2", "tiles: 2"),
        "tiles": rows.differ("tiles: 2", "tiles: 3"),
    }


TABLE = {
    "AccuracyParameter": accuracy,
    "ArgMaxParameter": argmax,
    "BatchNormParameter": batch_norm,
    "BiasParameter": bias,
    "ConcatParameter": concat,
    "ConvolutionParameter": convolution,
    "CropParameter": crop,
    "DummyDataParameter": dummy_data,
    "EltwiseParameter": eltwise,
    "EmbedParameter": embed,
    "FillerParameter": filler,
    "FlattenParameter": flatten,
    "InnerProductParameter": inner_product,
    "InputParameter": input_,
    "LRNParameter": lrn,
    "MVNParameter": mvn,
    "MemoryDataParameter": memory_data,
    "ParameterParameter": parameter,
    "PoolingParameter": pooling,
    "PythonParameter": python,
    "RecurrentParameter": recurrent,
    "ReductionParameter": reduction,
    "ReshapeParameter": reshape,
    "SPPParameter": spp,
    "ScaleParameter": scale,
    "SliceParameter": slice_,
    "SoftmaxParameter": softmax,
    "TileParameter": tile,
}
