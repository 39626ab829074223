"""`test`: a net's outputs over so many batches, each and their mean."""

from __future__ import annotations

from ..core.layer import TEST
from ..core.weights import load
from ..errors import InputError
from ..log import WARNING, log, shown
from ..net import Net
from ..settings import set_lean
from ..training.output_means import OutputMeans
from .devices import WHERE, gpus, use_first
from .files import check_files, names_of

FLAGS = ("model", "weights", "iterations", "gpu", "level", "stage")


def main(flags) -> None:
    model = flags.need("model", "the net to score")
    weights = flags.need("weights", "the caffemodel to score")
    check_files(flags, "model", "weights")
    use_first(gpus(flags.gpu))
    set_lean(True)
    net = Net(model, TEST, level=flags.level, stages=flags.stages)
    _take_weights(net, names_of(weights))
    log(f"Running for {flags.iterations} iterations.", where=WHERE)
    outputs = OutputMeans(net)
    loss = 0.0
    for i in range(flags.iterations):
        loss += net._forward(0, len(net.layers) - 1)
        outputs.add()
        for name in net.outputs:
            for score in net.blobs[name].data.flat:
                log(f"Batch {i}, {name} = {shown(score)}", where=WHERE)
    log(f"Loss: {shown(loss / flags.iterations)}", where=WHERE)
    for name, means in outputs.means().items():
        weight = net.blob_loss_weights[name]
        for mean in means.flat:
            of_loss = f" (* {weight:g} = {shown(weight * mean)} loss)" if weight else ""
            log(f"{name} = {shown(mean)}{of_loss}", where=WHERE)


def _take_weights(net, files: list[str]) -> None:
    """Copy what `files` have into the net. A warning for parameters that none of them has, unless
    they never learn; InputError where they have none at all."""
    learnable = net._learnable
    filled = set()
    for name in files:
        filled |= {id(blob._data) for blob in load(net._wiring.layers, learnable, name)}
    parameters = list(zip(learnable.names, learnable.blobs, learnable.lr_mult))
    left = [n for n, blob, rate in parameters if rate and id(blob._data) not in filled]
    if parameters and not filled:
        raise InputError(
            f"-weights {', '.join(files)}: has no parameters of net '{net.name}'; it is of another "
            "net"
        )
    if left:
        log(
            f"-weights {', '.join(files)}: has nothing for {', '.join(left[:6])}"
            f"{', …' * (len(left) > 6)}: scored with what the fillers make",
            WARNING,
            WHERE,
        )
