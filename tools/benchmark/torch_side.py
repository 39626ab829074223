"""The nets as a PyTorch user would write them, without any Caffe, and the machine's ceiling.

Outside engine/, only this and tools/gpu/torch_*.py import torch: it is what the engine is compared
with.
It must not import `caffe` either, as the engine changes how the C library hands out memory.
Attributes are named as the Caffe nets' layers, so that weights go from one to the other.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from prototxt.tasks import VOID

STAGES = {"16": (2, 2, 3, 3, 3), "19": (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


def bilinear(classes, kernel, stride):
    """A fixed upsampling, channel by channel: 3 to 4 times faster than the dense form that Caffe's
    prototxts have. Its weights come with the others."""
    layer = nn.ConvTranspose2d(classes, classes, kernel, stride=stride, bias=False, groups=classes)
    layer.weight.requires_grad = False
    return layer


def cropped(score, offset, like):
    """The part of `score` that begins at `offset` and is as large as `like`."""
    height, width = like.shape[2:]
    return score[:, :, offset : offset + height, offset : offset + width]


class VGG(nn.Module):
    """VGG's convolutions with conv1_1 padded by 100, and its classifier as convolutions."""

    def __init__(self, depth, classes, fc6, dilation, shrink=1):
        super().__init__()
        self.stages = []
        channels = 3
        for stage, (count, width) in enumerate(zip(STAGES[depth], WIDTHS), 1):
            self.stages.append([f"conv{stage}_{k}" for k in range(1, count + 1)])
            for name in self.stages[-1]:
                pad = 100 if name == "conv1_1" else 1
                self.add_module(name, nn.Conv2d(channels, width // shrink, 3, padding=pad))
                channels = width // shrink
        self.pool = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.fc6 = nn.Conv2d(channels, 4096 // shrink, fc6, dilation=dilation)
        self.fc7 = nn.Conv2d(4096 // shrink, 4096 // shrink, 1)
        self.score_fr = nn.Conv2d(4096 // shrink, classes, 1)

    def features(self, x):
        """The five pools' outputs, and the scores at stride 32."""
        pools = []
        for names in self.stages:
            for name in names:
                x = self.relu(getattr(self, name)(x))
            x = self.pool(x)
            pools.append(x)
        x = self.dropout(self.relu(self.fc6(x)))
        x = self.dropout(self.relu(self.fc7(x)))
        return pools, self.score_fr(x)


class DilatedFCN2s(VGG):
    def __init__(self, depth, classes=21, shrink=1):
        super().__init__(depth, classes, fc6=3, dilation=3, shrink=shrink)
        for pool in (4, 3, 2, 1):
            width = WIDTHS[pool - 1] // shrink
            self.add_module(f"score_pool{pool}", nn.Conv2d(width, classes, 1))
        self.upscore2 = bilinear(classes, 4, 2)
        self.upscore_pool4 = bilinear(classes, 4, 2)
        self.upscore_pool3 = bilinear(classes, 4, 2)
        self.upscore_pool2 = bilinear(classes, 4, 2)
        self.upscore_2 = bilinear(classes, 4, 2)

    def forward(self, x):
        (pool1, pool2, pool3, pool4, _), score = self.features(x)
        score = self.upscore2(score)
        score = score + cropped(self.score_pool4(pool4 * 1e-2), 5, score)
        score = self.upscore_pool4(score)
        score = score + cropped(self.score_pool3(pool3 * 1e-4), 9, score)
        score = self.upscore_pool3(score)
        score = score + cropped(self.score_pool2(pool2 * 1e-6), 17, score)
        score = self.upscore_pool2(score)
        score = score + cropped(self.score_pool1(pool1 * 1e-8), 33, score)
        return cropped(self.upscore_2(score), 34, x).contiguous()


class FCN8s(VGG):
    def __init__(self, depth, classes=21, shrink=1):
        super().__init__(depth, classes, fc6=7, dilation=1, shrink=shrink)
        self.score_pool4 = nn.Conv2d(512 // shrink, classes, 1)
        self.score_pool3 = nn.Conv2d(256 // shrink, classes, 1)
        self.upscore2 = bilinear(classes, 4, 2)
        self.upscore_pool4 = bilinear(classes, 4, 2)
        self.upscore8 = bilinear(classes, 16, 8)

    def forward(self, x):
        (_, _, pool3, pool4, _), score = self.features(x)
        score = self.upscore2(score)
        score = score + cropped(self.score_pool4(pool4), 5, score)
        score = self.upscore_pool4(score)
        score = score + cropped(self.score_pool3(pool3), 9, score)
        return cropped(self.upscore8(score), 31, x).contiguous()


def module_of(net, classes=21, shrink=1):
    """The module of a net of nets.NETS."""
    kind = DilatedFCN2s if net.startswith("dilated-fcn2s") else FCN8s
    return kind(net[-2:], classes, shrink)


def load(module, path):
    """Read the weights that CaffeSide.save_weights wrote: they are all there, and no others but
    the scales, which are constants here. Of the upsamplings' weights the diagonal is taken."""
    from safetensors.torch import load_file

    state = {k: v for k, v in load_file(path).items() if not k.startswith("scale_")}
    for name in [name for name in state if name.startswith("upscore")]:
        channels = torch.arange(len(state[name]))
        state[name] = state[name][channels, channels].unsqueeze(1)
    module.load_state_dict(state)


def optimizer_of(module, solver):
    """SGD as Caffe's solver has it: biases learn twice as fast, and do not decay."""
    named = [(k, p) for k, p in module.named_parameters() if p.requires_grad]
    weights = [p for k, p in named if not k.endswith("bias")]
    biases = [p for k, p in named if k.endswith("bias")]
    return torch.optim.SGD(
        [
            {"params": weights, "weight_decay": solver["weight_decay"]},
            {"params": biases, "lr": 2 * solver["base_lr"], "weight_decay": 0.0},
        ],
        lr=solver["base_lr"],
        momentum=solver["momentum"],
    )


def gpu_memory(device):
    """{allocated, reserved}: PyTorch's own peaks on a CUDA device, bytes."""
    return {
        "allocated": torch.cuda.max_memory_allocated(device),
        "reserved": torch.cuda.max_memory_reserved(device),
    }


class TorchSide:
    """What the bench's worker does for the side `torch`; see worker.py for the commands."""

    def __init__(self, gpu, threads):
        torch.set_num_threads(threads)
        # As the engine does, and Caffe: all of float32, not TF32.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        self.device = torch.device("cpu" if gpu is None else f"cuda:{gpu}")

    def about(self):
        about = {"PyTorch": torch.__version__, "threads": torch.get_num_threads()}
        if self.device.type == "cuda":
            about["GPU"] = torch.cuda.get_device_name(self.device)
        return about

    def open(self, job):
        self.mode, self.tensors = job["mode"], job["tensors"]
        self.module = module_of(job["net"], job["classes"], job["shrink"])
        load(self.module, self.tensors)
        self.module.to(self.device)
        if not job["dropout"]:
            self.module.dropout.p = 0.0
        self.optimizer = optimizer_of(self.module, job["solver"])
        with np.load(job["image"]) as arrays:
            self.data, self.label = arrays["data"], arrays["label"][:, 0].astype(np.int64)
        return {}

    def run(self):
        """One pass of the mode: seconds, and the loss where there is one."""
        began = time.perf_counter()
        loss = None if self.mode == "forward" else self._step()
        if self.mode != "step":
            self._forward()
        self.wait()
        return {"seconds": time.perf_counter() - began, "loss": loss}

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _forward(self):
        self.module.eval()
        with torch.inference_mode():
            self.score = self.module(torch.from_numpy(self.data).to(self.device)).cpu().numpy()

    def _step(self):
        self.module.train()
        data = torch.from_numpy(self.data).to(self.device)
        label = torch.from_numpy(self.label).to(self.device)
        self.optimizer.zero_grad()
        score = self.module(data)
        loss = functional.cross_entropy(score, label, ignore_index=VOID, reduction="sum")
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def scores(self):
        return self.score

    def load(self):
        began = time.perf_counter()
        load(self.module, self.tensors)
        self.wait()
        return {"seconds": time.perf_counter() - began}

    def memory(self):
        return gpu_memory(self.device) if self.device.type == "cuda" else {}


class Ceiling:
    """The side `ceiling`: the machine's rate of float32 matrix products."""

    def __init__(self, gpu, threads):
        self.side = TorchSide(gpu, threads)

    def about(self):
        return self.side.about()

    def open(self, job):
        device, self.size = self.side.device, job["product"]
        self.factors = [torch.rand(self.size, self.size, device=device) for _ in range(2)]
        self.out = torch.empty(self.size, self.size, device=device)
        return {}

    def run(self):
        """One product: seconds, and FLOP/s."""
        began = time.perf_counter()
        torch.mm(*self.factors, out=self.out)
        self.side.wait()
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "rate": 2 * self.size**3 / seconds}

    def memory(self):
        return {}
