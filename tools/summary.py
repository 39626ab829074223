"""What a net is made of: a line per layer with its output, receptive field, parameters, GMAC.

    python tools/summary.py voc/dilated-fcn2s-vgg16                  in prototxt/nets
    python tools/summary.py NET.prototxt [--size HxW] [--to LAYER] [--markdown] [--all-params]
    python tools/summary.py voc/fcn8s-vgg16 voc/dilated-fcn2s-vgg16  and a table that compares them

Nothing is run, and no data is read: Caffe builds the net, which has its shapes from the input's
size. That is --size, or the Input layer's own, or 500x500 where a data layer reads images.
"""

from __future__ import annotations

import argparse
import difflib
import glob
import math
import os
import re
from collections import namedtuple

import prototxt
from prototxt import skeleton
from tools.arithmetic import fields, shapes
from tools.arithmetic.fields import decimal, per_axis
from tools.common.arguments import Parser
from tools.common.cli import UserError, run
from tools.common.tables import table

NETS = os.path.join(os.path.dirname(os.path.abspath(prototxt.__file__)), "nets")
SIZE = (500, 500)
MAX_SIDE = 100000

Param = namedtuple("Param", "layer what shape lr_mult decay_mult state")
Param.__doc__ = """A parameter blob. `state` is learned, fixed (lr_mult 0, or statistics), or shared
(another layer's blob, counted there)."""

Row = namedtuple("Row", "layer type top shape field grids params macs memory dilation")
Row.__doc__ = """A layer and one of its tops.

field     receptive field per spatial axis in input pixels, or None for all of the image
grids     geometry.Grid per spatial axis, or None
params    Params of the layer, in the row of its first top
macs      multiply-accumulates of a forward pass, in the row of its first top
memory    bytes of data that the top adds, float32; 0 where it shares its bottom's
dilation  of a convolution, per spatial axis, else None
"""

Summary = namedtuple("Summary", "name rows notes")

FILLERS = ("weight_filler", "bias_filler", "filler", "data_filler")

SHARED_MEMORY = ("Split", "Flatten", "Reshape")

LEGEND = (
    "field, stride and start are in input pixels. start: the centre of the first output, as",
    "Caffe's coordinate mapping has it. The field of a sum or concatenation holds those of all",
    "bottoms (it is the largest of them); after a deconvolution it is that of the output that",
    "sees most. (n): fixed parameters. GMAC: 10^9 multiply-accumulates of a forward pass. MB:",
    "10^6 bytes of data, float32; in-place layers add none.",
)


def find_net(name):
    """The prototxt that `name` means: a file, a net's folder, or TASK/NET. Raises UserError."""
    for place in (name, os.path.join(NETS, name)):
        if os.path.isfile(place):
            return place
        for phase in ("deploy", "val", "train"):
            if os.path.isfile(os.path.join(place, f"{phase}.prototxt")):
                return os.path.join(place, f"{phase}.prototxt")
    known = sorted(short_name(path) for path in glob.glob(f"{NETS}/*/*/deploy.prototxt"))
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"nets: {', '.join(known)}"
    raise UserError(f"{name}: no such prototxt, nor a net's name; {hint}")


def short_name(path):
    """TASK/NET for a deploy net in prototxt/nets, TASK/NET/FILE for another there, else `path`."""
    inside = os.path.relpath(os.path.abspath(path), NETS)
    if inside.startswith(os.pardir):
        return path
    folder, file = os.path.split(inside)
    return (folder if file == "deploy.prototxt" else inside).replace(os.sep, "/")


def read(path, size=None, phase="TEST"):
    """The NetParameter in a prototxt, with Input layers of `size` (H, W) in place of data layers.

    Input layers get that size too, unless it is None. Layers that are not in `phase` are left
    out. Raises prototxt's InputError (exit code 2).
    """
    return sized(skeleton.read_prototxt(path), size, phase)


def sized(given, size=None, phase="TEST"):
    """As `read`, for a NetParameter."""
    net = skeleton.without_data(given)
    for layer, old in zip(net.layer, given.layer):
        for shape in layer.input_param.shape:
            if skeleton.is_data_layer(old) or (size is not None and len(shape.dim) == 4):
                shape.dim[2:] = size or skeleton.data_shape(old)[1] or SIZE
    layers = _inputs(net, size) + [layer for layer in net.layer if _included(layer, phase)]
    for field in ("layer", "input", "input_shape", "input_dim"):
        net.ClearField(field)
    net.layer.extend(layers)
    return net


def _inputs(net, size):
    """An Input layer for a net that has its inputs in the older way, as fields `input`."""
    dims = [list(shape.dim) for shape in net.input_shape]
    dims = dims or [list(net.input_dim[i : i + 4]) for i in range(0, len(net.input_dim), 4)]
    if not net.input:
        return []
    layer = type(net.layer[0])(name="input", type="Input", top=net.input)
    for dim in dims:
        layer.input_param.shape.add(dim=dim[:2] + list(size) if size and len(dim) == 4 else dim)
    return [layer]


def _included(layer, phase):
    def met(rule):
        wanted = rule.DESCRIPTOR.fields_by_name["phase"].enum_type.values_by_number[rule.phase].name
        right = not rule.HasField("phase") or wanted == phase
        return right and rule.min_level <= 0 and not rule.stage

    if layer.include:
        return any(met(rule) for rule in layer.include)
    return not any(met(rule) for rule in layer.exclude)


def summarize(net, name, to=None):
    """The Summary of a NetParameter whose inputs have shapes, up to the layer `to`.

    Caffe builds the net, for its blobs' shapes: with fillers of 0, and without layers that have no
    tops, as one of them may write a file. Raises UserError or prototxt's InputError (exit code 2),
    naming net and layer; BVLC Caffe aborts the process at a layer that does not fit.
    """
    layers = list(net.layer)
    if to is not None:
        names = [layer.name for layer in layers]
        if to not in names:
            raise UserError(f"{name}: --to {to}: has no such layer")
        layers = layers[: names.index(to) + 1]
    layers = [layer for layer in layers if layer.top]
    for layer in layers:
        dims = [shape.dim for shape in layer.input_param.shape]
        if layer.type == "Input" and (not dims or min(map(min, dims)) < 1):
            raise UserError(
                f"{name}: layer {layer.name!r} (Input): needs a shape whose sizes are 1 or more"
            )
    built = skeleton.build(_unfilled(net, layers), name)
    shapes_of = {top: tuple(blob.shape) for top, blob in built.blobs.items()}
    made = {n: [tuple(blob.shape) for blob in blobs] for n, blobs in built.params.items()}
    rows, notes, blobs, owners = [], [], {}, set()
    try:
        for layer in layers:
            params = _params(layer, made.get(layer.name, ()), owners)
            rows += _rows(layer, shapes_of, params, blobs)
            note = fields.misaligned(blobs, layer)
            notes += [note] if note else []
            if layer.type in shapes.UNCOUNTED:
                notes.append(f"layer {layer.name!r} ({layer.type}): not in GMAC")
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return Summary(name, rows, notes)


def _unfilled(net, layers):
    """A NetParameter of these layers of `net`, whichever phase they are for, without fillers."""
    made = type(net)()
    made.CopyFrom(net)
    del made.layer[:]
    for layer in layers:
        copy = made.layer.add()
        copy.CopyFrom(layer)
        for field in ("include", "exclude"):
            copy.ClearField(field)
        for field, value in copy.ListFields():
            if field.message_type is not None and field.name.endswith("_param"):
                for filler in FILLERS:
                    if filler in field.message_type.fields_by_name:
                        value.ClearField(filler)
    return made


def _rows(layer, shapes_of, params, blobs):
    bottoms, tops = ([shapes_of[name] for name in names] for names in (layer.bottom, layer.top))
    weights = params[0].shape if params else ()
    macs = shapes.multiplications(layer, bottoms, tops, weights)
    dilation = None
    if layer.type in ("Convolution", "Deconvolution"):
        dilation = [window.dilation for window in shapes.windows(layer, bottoms[0])]
    rows = []
    for number, (top, shape) in enumerate(zip(layer.top, tops)):
        in_place = top in layer.bottom
        if not in_place:
            fields.add(blobs, top, shape, fields.links(layer, bottoms, number))
        shares = in_place or layer.type in SHARED_MEMORY
        memory = 0 if shares else 4 * math.prod(shape)
        seen = fields.field(blobs, top)
        here = (layer.name, layer.type, top, shape, seen, blobs[top].grids)
        rows.append(Row(*here, params, macs, memory, dilation))
        params, macs = [], 0
    return rows


def _params(layer, made, owners):
    params = []
    for number, (what, shape) in enumerate(zip(shapes.param_names(layer, len(made)), made)):
        spec = layer.param[number] if number < len(layer.param) else type(layer)().param.add()
        fixed = spec.lr_mult == 0 or layer.type == "BatchNorm"
        state = "shared" if spec.name in owners else "fixed" if fixed else "learned"
        owners.update([spec.name] if spec.name else [])
        params.append(Param(layer.name, what, shape, spec.lr_mult, spec.decay_mult, state))
    return params


def count(params, state, what=None):
    """How many numbers the Params in `state` hold: all, or only "weights" or "bias"."""
    wanted = [p for p in params if p.state == state]
    if what is not None:
        wanted = [p for p in wanted if (p.what == "bias") == (what == "bias")]
    return sum(math.prod(p.shape) for p in wanted)


def totals(summary):
    """{learned, fixed: numbers of parameters; macs: of a forward pass; memory: bytes of blobs}."""
    params = [p for row in summary.rows for p in row.params]
    return {
        "learned": count(params, "learned"),
        "fixed": count(params, "fixed"),
        "macs": sum(row.macs for row in summary.rows),
        "memory": sum(row.memory for row in summary.rows),
    }


def layer_table(summary, markdown=False):
    """A line per layer and top."""
    rows = []
    for row in summary.rows:
        name = row.layer if row.top == row.layer or not row.memory else f"{row.layer}: {row.top}"
        grids = row.grids or ()
        place = [per_axis(g.stride for g in grids), per_axis((g.start for g in grids), decimal)]
        rows.append(
            [
                name,
                row.type,
                shapes.text(row.shape),
                per_axis(row.field) if row.field else "all",
                *(place if grids else ["-", "-"]),
                *(_numbers(row.params, what) for what in ("weights", "bias")),
                f"{row.macs / 1e9:.3f}" if row.macs else "-",
                f"{row.memory / 1e6:.1f}" if row.memory else "-",
            ]
        )
    header = ["layer", "type", "output", "field", "stride", "start"]
    return table([*header, "weights", "bias", "GMAC", "MB"], rows, markdown, left=3)


def _numbers(params, what):
    learned, fixed = (count(params, state, what) for state in ("learned", "fixed"))
    parts = [f"{learned:,}"] * (learned > 0) + [f"({fixed:,})"] * (fixed > 0)
    return " ".join(parts) or "-"


def total_lines(summary, markdown=False):
    """The totals, one a line."""
    found = totals(summary)
    rows = [
        ["learned parameters", f"{found['learned']:,}"],
        ["fixed parameters", f"{found['fixed']:,}"],
        ["GMAC, forward", f"{found['macs'] / 1e9:.1f}"],
        ["activation MB", f"{found['memory'] / 1e6:.1f}"],
    ]
    return table([summary.name, "total"], rows, markdown)


def param_table(summary, markdown=False):
    """A line per parameter blob."""
    rows = [
        [p.layer, p.what, shapes.text(p.shape), p.state]
        + [f"{math.prod(p.shape):,}", f"{p.lr_mult:g}", f"{p.decay_mult:g}"]
        for row in summary.rows
        for p in row.params
    ]
    header = ["layer", "blob", "shape", "state", "numbers", "lr_mult", "decay_mult"]
    return table(header, rows, markdown, left=4)


def comparison(summaries, markdown=False):
    """A line per net: table 1 of the paper (fc6's shape, dilation, weights), and the totals."""
    rows = []
    for summary in summaries:
        found = totals(summary)
        fc6 = [row for row in summary.rows if row.layer.startswith("fc6") and row.params]
        kernels = sorted({shapes.text(row.params[0].shape) for row in fc6})
        dilations = sorted({per_axis(row.dilation) for row in fc6 if row.dilation})
        rows.append(
            [
                summary.name,
                (f"{len(fc6)} of " if len(fc6) > 1 else "") + (", ".join(kernels) or "-"),
                ", ".join(dilations) or "-",
                f"{sum(math.prod(row.params[0].shape) for row in fc6):,}" if fc6 else "-",
                f"{found['learned']:,}",
                f"{found['macs'] / 1e9:.1f}",
                f"{found['memory'] / 1e6:.1f}",
            ]
        )
    header = ["net", "fc6", "dilation", "fc6 weights", "learned parameters", "GMAC"]
    return table([*header, "activation MB"], rows, markdown)


def side_lengths(text):
    """`HxW` as (H, W)."""
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    size = tuple(int(side) for side in found.groups()) if found else (0, 0)
    if not all(1 <= side <= MAX_SIDE for side in size):
        raise argparse.ArgumentTypeError(f"expected HxW in pixels, as 375x500, not {text!r}")
    return size


def parser():
    p = Parser(
        prog="summary.py", description="Layers, receptive fields, parameters and GMAC of nets."
    )
    p.add_argument("nets", nargs="+", metavar="NET", help="a prototxt, or TASK/NET")
    p.add_argument("--size", type=side_lengths, metavar="HxW", help="size of the input image")
    p.add_argument("--to", metavar="LAYER", help="stop after this layer")
    p.add_argument("--phase", choices=("train", "test"), default="test", help="(default: test)")
    p.add_argument("--all-params", action="store_true", help="also list every parameter blob")
    p.add_argument("--markdown", action="store_true", help="print Markdown tables")
    return p


def main(argv):
    args = parser().parse_args(argv)
    summaries = []
    for name in args.nets:
        path = find_net(name)
        net = read(path, args.size, args.phase.upper())
        summaries.append(summarize(net, short_name(path), args.to))
    parts = []
    for summary in summaries:
        parts += [layer_table(summary, args.markdown), total_lines(summary, args.markdown)]
        parts += [[f"note: {note}" for note in summary.notes]] if summary.notes else []
        parts += [param_table(summary, args.markdown)] if args.all_params else []
    if len(summaries) > 1:
        parts.append(comparison(summaries, args.markdown))
    parts.append(LEGEND)
    print("\n\n".join("\n".join(part) for part in parts))
    return 0


if __name__ == "__main__":
    run(main)
