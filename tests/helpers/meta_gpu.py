"""What a training step asks of a GPU, counted on PyTorch's meta device: launches of kernels, views,
copies from the host, and the tensors that are alive at once.

Meta tensors have shapes and no elements, so a whole step of a large net takes seconds and next to
no memory. Counted is what the engine asks PyTorch for; kernels that cuDNN launches on top, its
workspaces and the allocator's rounding are not. As a command, a table:

    PYTHONPATH=.:engine:data_layers python -m tests.helpers.meta_gpu --help
"""

from __future__ import annotations

import argparse
import contextlib
import weakref
from collections import Counter
from pathlib import Path

import torch
from google.protobuf import text_format
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

import caffe
from caffe.compute import device, rng
from caffe.proto import caffe_pb2

NETS = Path(__file__).resolve().parents[2] / "prototxt/nets/voc"
META = torch.device("meta")
_aten = torch.ops.aten
_MULTI_TENSOR_BLOCKS, _MULTI_TENSOR_CHUNK = 320, 65536
"""Of PyTorch's kernels over many tensors: blocks in a launch, elements of a block."""


class Counts(TorchDispatchMode):
    """While it is entered, counts operations on meta tensors.

    * `launches`: by operator, how many kernels PyTorch launches for it. Convolutions count as one
      for each product, and one for a bias or its gradient.
    * `views`, `copies_up` (from host memory), `zeroed` (bytes that are filled with one number).
    * `by_place`: launches by what `place` says at the time.
    * `live`, `peak`: bytes of the meta tensors that are alive, now and at most; `peak_place`.
    """

    def __init__(self):
        super().__init__()
        self.place, self.peak_place = "", ""
        self.live = self.peak = 0
        self._sizes: dict[int, int] = {}
        self.clear()

    def clear(self) -> None:
        """Count anew; what is alive stays."""
        self.launches, self.by_place = Counter(), Counter()
        self.views = self.copies_up = self.zeroed = 0
        self.peak, self.peak_place = self.live, self.place

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        made = _run(func, args, kwargs)
        given = _meta_tensors((args, kwargs))
        results = _meta_tensors(made)
        for tensor in given + results:
            self._see(tensor)
        if given or results:
            self._count(func, args, kwargs, results)
        return made

    def _count(self, func, args, kwargs, results) -> None:
        name = func._schema.name.removeprefix("aten::")
        if func.is_view:
            self.views += 1
            return
        if name in ("copy_", "_to_copy") and args[-1 if name == "copy_" else 0].device != META:
            self.copies_up += 1
            return
        number = _launches(name, args, kwargs)
        if number:
            self.launches[name] += number
            self.by_place[self.place] += number
        if name in ("zeros", "zero_", "fill_", "new_zeros", "zeros_like", "full", "ones"):
            self.zeroed += sum(tensor.nbytes for tensor in results)

    def _see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        weakref.finalize(storage, self._gone, key)
        self.live += self._sizes[key]
        if self.live > self.peak:
            self.peak, self.peak_place = self.live, self.place

    def _gone(self, key: int) -> None:
        self.live -= self._sizes.pop(key)


def _meta_tensors(values) -> list[torch.Tensor]:
    flat = tree_flatten(values)[0]
    return [t for t in flat if isinstance(t, torch.Tensor) and t.device == META]


def _run(func, args, kwargs):
    """`func`, where the meta device has it; PyTorch's updates in place of many tensors it has
    not."""
    if func._schema.name.startswith("aten::_fused_"):
        return None
    return func(*args, **kwargs)


def _launches(name: str, args, kwargs) -> int:
    if name.startswith(("empty", "new_empty")) or name in ("is_same_size", "detach", "resize_"):
        return 0
    if name == "convolution":
        return 1 + (args[2] is not None)
    if name == "convolution_backward":
        return sum(args[-1])
    if name in ("zeros", "full", "ones", "arange"):
        return 1
    if name.startswith(("_fused_", "_foreach_")):
        chunks = sum(-(-tensor.numel() // _MULTI_TENSOR_CHUNK) for tensor in args[0])
        return -(-chunks // _MULTI_TENSOR_BLOCKS)
    if name in ("max_pool2d_with_indices_backward", "constant_pad_nd"):
        return 2  # zeros first
    return 1


@contextlib.contextmanager
def meta_gpu():
    """Context in which `caffe` computes on the meta device."""
    current, generator, state = device.current, rng.generator, rng.get_state
    device.current = lambda: META
    rng.generator, rng.get_state = lambda where=None: None, lambda: {}
    try:
        yield
    finally:
        device.current, rng.generator, rng.get_state = current, generator, state


def net_text(name: str, size: tuple[int, int]) -> str:
    """The training net of a folder of prototxt/nets/voc, fed by Inputs of rows × columns `size`
    instead of VOC's pictures."""
    net = caffe_pb2.NetParameter()
    text_format.Parse((NETS / name / "train.prototxt").read_text(), net)
    del net.layer[0]
    for top, channels in (("label", 1), ("data", 3)):
        layer = caffe_pb2.LayerParameter(name=top, type="Input", top=[top])
        layer.input_param.shape.add().dim.extend([1, channels, *size])
        net.layer.insert(0, layer)
    return text_format.MessageToString(net)


def count_step(solver) -> Counts:
    """The counts of a solver's second step, to be called within `meta_gpu()`."""
    counts = Counts()
    net = solver.net
    names = [layer.name for layer in net.layers]

    def at(way):
        return lambda k: setattr(counts, "place", f"{names[k]} {way}")

    with counts:
        net.before_forward(at("forward"))
        net.before_backward(at("backward"))
        for _ in range(2):
            counts.clear()
            solver.step(1)
    return counts


SOLVER = (
    'base_lr: 1e-10 momentum: 0.99 weight_decay: 0.0005 lr_policy: "fixed" snapshot_prefix: "s" '
)


def make_solver(folder: Path, text: str, recomputed=(), rule: str = SOLVER):
    """A solver on the net `text`, whose files are written into `folder`."""
    (folder / "meta_net.prototxt").write_text(text)
    (folder / "meta_solver.prototxt").write_text(f'net: "{folder}/meta_net.prototxt" {rule}')
    solver = caffe.get_solver(folder / "meta_solver.prototxt")
    if recomputed:
        caffe.engine.recompute(solver.net, *recomputed)
    return solver


RECOMPUTED = ("conv1_1", "conv2_1", "conv3_1", "conv3_2")
MODES = {
    "lean, folded": (True, True, ()),
    "lean, folded, 4 made again": (True, True, RECOMPUTED),
    "lean, unfolded": (True, False, ()),
    "not lean, folded": (False, True, ()),
    "not lean, unfolded": (False, False, ()),
}
"""How a step is run: lean or not, folded or not, blobs that are made again."""


def _rows(folder: Path, name: str, size):
    for mode, (lean, folded, recomputed) in MODES.items():
        caffe.engine.set_lean(lean)
        caffe.engine.set_folding(folded)
        with meta_gpu():
            counts = count_step(make_solver(folder, net_text(name, size), recomputed))
        yield mode, counts


def main(argv=None) -> None:
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("nets", nargs="*", default=["dilated-fcn2s-vgg16", "fcn8s-vgg16"])
    parser.add_argument("--size", type=int, default=500, help="rows and columns (500)")
    parser.add_argument("--operators", type=int, default=0, help="the N most launched as well")
    parser.add_argument("--places", type=int, default=0, help="the N busiest layers as well")
    args = parser.parse_args(argv)
    line = "{:<28}{:>9}{:>7}{:>10}{:>11}{:>9}  {}"
    with tempfile.TemporaryDirectory() as folder:
        for name in args.nets:
            print(f"{name}, {args.size}×{args.size}")
            print(line.format("", "launches", "views", "copies up", "zeroed MB", "peak MB", "at"))
            for mode, c in _rows(Path(folder), name, (args.size, args.size)):
                numbers = (sum(c.launches.values()), c.views, c.copies_up, f"{c.zeroed / 1e6:.0f}")
                print(line.format(mode, *numbers, f"{c.peak / 1e6:.0f}", c.peak_place), flush=True)
                for what, n in c.launches.most_common(args.operators):
                    print(f"    {n:>5} {what}")
                for what, n in c.by_place.most_common(args.places):
                    print(f"    {n:>5} {what}")


if __name__ == "__main__":
    main()
