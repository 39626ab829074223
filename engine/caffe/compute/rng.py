"""The engine's random numbers: one seeded generator per device.

Caffe draws from Boost's and cuRAND's generators; these draw from PyTorch's, so the numbers differ
while the distributions agree.
"""

from __future__ import annotations

import torch

from . import device as _device

_generators: dict[str, torch.Generator] = {}
_seed: int | None = None


def generator(device: torch.device | None = None) -> torch.Generator:
    """The generator of `device` (default: the current one), seeded from the system until
    `set_random_seed` is called. (None on the meta device, where
    no numbers are: PyTorch takes that for its own.)"""
    device = _device.current() if device is None else device
    if device.type == "meta":
        return None  # type: ignore[return-value]
    key = str(device)
    if key not in _generators:
        made = torch.Generator(device=device)
        if _seed is None:
            made.seed()
        else:
            made.manual_seed(_seed)
        _generators[key] = made
    return _generators[key]


def set_random_seed(seed: int) -> None:
    """Seed every generator, those not made yet included."""
    global _seed
    _seed = int(seed)
    for made in _generators.values():
        made.manual_seed(_seed)


def reseed(seed: int) -> None:
    """Seed the generators that were made so far; others as `set_random_seed` said."""
    for made in _generators.values():
        made.manual_seed(seed)


def draw_seed() -> int:
    """A number of 62 bits from the host's generator."""
    return int(torch.randint(2**62, (1,), generator=generator(torch.device("cpu"))))


def get_state() -> dict[str, bytes]:
    """The states of the host's and the current device's generator, by type of device."""
    used = {device.type: device for device in (torch.device("cpu"), _device.current())}
    return {kind: generator(device).get_state().numpy().tobytes() for kind, device in used.items()}


def set_state(state: dict[str, bytes]) -> None:
    """Undo of `get_state`, on whichever GPU is the current one; a GPU's state is left out on the
    CPU. Keys may have a device number, which is not looked at. RuntimeError for bytes that are
    no state."""
    for key, value in state.items():
        kind = torch.device(key).type
        if kind in ("cpu", _device.current().type):
            made = generator(torch.device("cpu") if kind == "cpu" else None)
            made.set_state(torch.frombuffer(bytearray(value), dtype=torch.uint8))
