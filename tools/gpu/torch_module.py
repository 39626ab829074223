"""The plain PyTorch module of tools/benchmark/torch_side and matrix products, by precision.

It must not import `caffe`: see there.
"""

from __future__ import annotations

import contextlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tools.benchmark.torch_side import VOID, module_of, optimizer_of

CLASSES, SEED = 21, 1
# As the VOC nets' solvers have them; their values do not change how long an update takes.
SOLVER = {"base_lr": 1e-10, "momentum": 0.99, "weight_decay": 5e-4}


def set_threads(count):
    """How many processors PyTorch uses on the CPU."""
    torch.set_num_threads(count)


def device_of(gpu):
    return torch.device("cpu" if gpu is None else f"cuda:{gpu}")


def round_factors(precision):
    """Let cuDNN and cuBLAS round factors to TF32 if that is the `precision`, else not."""
    tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32


class Product:
    """A product of two square matrices, float32 (in "tf32" with rounded factors) or bfloat16."""

    def __init__(self, gpu, precision, size):
        round_factors(precision)
        kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
        shape, device = (size, size), device_of(gpu)
        # Zeros would need less power, and so run at a higher clock, than numbers do.
        self.factors = [torch.randn(shape, device=device).to(kind) for _ in range(2)]
        self.out = torch.empty(shape, device=device, dtype=kind)

    def run(self):
        torch.mm(*self.factors, out=self.out)


class Passes:
    """The passes of one module on noise: forward, forward and backward, a training step.

    net, size, shrink    as benchmark.nets.Case has them
    precision            bfloat16: under torch.autocast
    """

    def __init__(self, gpu, net, size, shrink, precision, autotuning):
        round_factors(precision)
        torch.backends.cudnn.benchmark = autotuning
        self.device, self.half = device_of(gpu), precision == "bfloat16"
        torch.manual_seed(SEED)
        with self.device:
            self.module = module_of(net, CLASSES, shrink)
        for layer in self.module.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        self.optimizer = optimizer_of(self.module, SOLVER)
        random = np.random.RandomState(SEED)
        self.data = random.standard_normal((1, 3, *size)).astype(np.float32)
        self.label = random.randint(0, CLASSES, (1, *size)).astype(np.int64)
        self.loss = None

    def forward(self):
        self.module.eval()
        with torch.inference_mode(), self._precision():
            self._score()

    def forward_backward(self):
        self.module.train()
        self.optimizer.zero_grad()
        with self._precision():
            score = self._score()
        label = torch.from_numpy(self.label).to(self.device)
        self.loss = functional.cross_entropy(
            score.float(), label, ignore_index=VOID, reduction="sum"
        )
        self.loss.backward()

    def step(self):
        self.forward_backward()
        self.optimizer.step()

    def last_loss(self):
        return self.loss.item()

    def _score(self):
        return self.module(torch.from_numpy(self.data).to(self.device))

    def _precision(self):
        if not self.half:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)
