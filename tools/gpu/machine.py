"""What machine the report is made on; refuses one on which the GPU cannot be used."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform

from tools.common import processor
from tools.common.cli import UserError, processors, use_device

OPTIONAL = {
    "lmdb": "conformance cases that read an LMDB are left out",
    "plyvel": "conformance cases that read a LevelDB are left out",
    "imgviz": "not used here",
    "pydot": "not used here",
}
SHOWN = ("numpy", "scipy", "pillow", "protobuf", "h5py", "safetensors", "matplotlib")


def run(job):
    """Give the machine's facts as one result."""
    from tools.bench import memory_size
    from tools.gpu import torch_facts

    if job.gpu is not None:
        refuse_trouble(job.gpu, torch_facts.without_cuda())
        refuse_without(job.gpu, torch_facts.count())
        use(job.gpu)
    found = {
        "device": "CPU" if job.gpu is None else f"GPU {job.gpu}",
        **torch_facts.facts(job.gpu),
        "Python": platform.python_version(),
        "packages": [f"{name} {importlib.metadata.version(name)}" for name in SHOWN],
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processor": processor.name(),
        "processors": processors(),
        "memory of the machine": memory_size(),
    }
    missing = [name for name in OPTIONAL if importlib.util.find_spec(name) is None]
    if missing:
        found["not installed"] = "; ".join(f"{name}: {OPTIONAL[name]}" for name in missing)
    job.result("facts", **found)


def refuse_trouble(gpu, without_cuda):
    """Raise UserError where PyTorch is built `without_cuda` (its version, or None), or the engine
    knows why the GPU cannot be used."""
    import caffe

    if without_cuda:
        trouble = f"PyTorch {without_cuda} is built without CUDA; take a build for CUDA"
    else:
        trouble = caffe.engine.gpu_trouble(gpu)
    if trouble:
        raise UserError(f"GPU {gpu}: {trouble}; --cpu makes a dry run on the CPU")


def refuse_without(gpu, count):
    """Raise UserError unless there are more than `gpu` of the `count` CUDA GPUs."""
    if not 0 <= gpu < count:
        seen = f"{count} CUDA GPU{'' if count == 1 else 's'}"
        raise UserError(f"GPU {gpu}: there is no such GPU; PyTorch sees {seen} here; "
                        "--cpu makes a dry run on the CPU")  # fmt: skip


def use(gpu):
    """Let the engine choose the GPU, and a kernel run on it; raises what either raises."""
    from tools.gpu import torch_facts

    use_device(gpu)
    torch_facts.try_out(gpu)
