"""Which configurations the stage `tables` measures, in the order of their value."""

from __future__ import annotations

from collections import namedtuple

VGG16, VGG19, FCN8S = "dilated-fcn2s-vgg16", "dilated-fcn2s-vgg19", "fcn8s-vgg16"
ENGINE, MODULE = "engine-rows", "module-rows"
PRECISIONS = ("float32", "tf32", "bfloat16")

Row = namedtuple(
    "Row",
    "side net precision autotuning folding recompute test",
    defaults=("float32", False, True, False, False),
)
Row.__doc__ = """One configuration.

side          a side of tools/benchmark/worker: ENGINE or MODULE
net           of benchmark.nets.NETS
precision     of PRECISIONS
autotuning    whether cuDNN tries its algorithms
folding       of the engine: True, False or "measured"
recompute     of the engine: whether engine_nets.RECOMPUTED are made again
test          whether a test net runs beside the training net, as in the paper's table 6
"""


def engine_rows(net, gpu, precisions=PRECISIONS):
    """The rows of the engine that every net has. The CPU has one precision, and no cuDNN."""
    plain = Row(ENGINE, net)
    rows = [plain, plain._replace(test=True)]
    if gpu:
        rows += [plain._replace(precision=name, autotuning=True) for name in precisions]
    return rows


def engine_choices(net, gpu, measures_folding, precisions=PRECISIONS):
    """Rows of the engine with one thing changed: what recomputation and folding give and cost."""
    plain = Row(ENGINE, net)
    rows = [plain._replace(recompute=True), plain._replace(folding=False)]
    if gpu and "bfloat16" in precisions:
        # Where products are fastest, what folding costs the host counts the most.
        fast = plain._replace(precision="bfloat16", autotuning=True)
        rows += [fast._replace(folding=False)]
    if measures_folding:
        rows += [plain._replace(folding="measured")]
    return rows


def module_rows(net, gpu, precisions=PRECISIONS):
    """The rows of the plain PyTorch module."""
    plain = Row(MODULE, net, folding=None, recompute=None)
    rows = [plain, plain._replace(test=True)] if net == VGG16 else [plain]
    if gpu:
        rows += [plain._replace(precision=name, autotuning=True) for name in precisions]
    return rows


def ordered_rows(gpu, measures_folding, precisions=PRECISIONS):
    """The rows in order; those that follow each other on one side are one process's. "products"
    stands where the rates of products are measured. `precisions` are those that the GPU has.

    On the CPU, where only whether all runs is to be seen, each side has one process.
    """
    if not gpu:
        rows = [row for net in (VGG16, FCN8S, VGG19) for row in engine_rows(net, gpu)]
        rows += engine_choices(VGG16, gpu, measures_folding)
        return [*rows, "products", *module_rows(VGG16, gpu), *module_rows(FCN8S, gpu)]
    return [
        *engine_rows(VGG16, gpu, precisions),
        "products",
        *module_rows(VGG16, gpu, precisions),
        *engine_rows(FCN8S, gpu, precisions),
        *engine_rows(VGG19, gpu, precisions),
        *engine_choices(VGG16, gpu, measures_folding, precisions),
        *module_rows(FCN8S, gpu, precisions),
        *module_rows(VGG19, gpu, precisions),
    ]


def words(row):
    """What a row has beyond its net and side, in words."""
    parts = [row["precision"]]
    parts += ["autotuned"] * bool(row["autotuning"])
    parts += {False: ["unfolded"], "measured": ["folding as measured"]}.get(row["folding"], [])
    parts += ["recomputation"] * bool(row["recompute"])
    parts += ["with test net"] * bool(row["test"])
    return ", ".join(parts)
