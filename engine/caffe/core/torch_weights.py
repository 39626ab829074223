"""PyTorch's own files of weights, read without running the code that they may hold."""

from __future__ import annotations

import os
import zipfile

from ..errors import InputError
from ..proto import kinds, not_utf8
from ..proto.opening import open_regular


def load_torch_weights(path) -> dict:
    """The tensors of a `.pth` file as float32 NumPy arrays by name, without running its code.

    Raises InputError for a file that holds anything but tensors in plain containers, or claims
    more numbers than it has bytes.
    """
    import torch

    name = not_utf8.path(path)
    with open_regular(name) as file:
        size = os.fstat(file.fileno()).st_size
        wrong = kinds.file_misfit(name, "a PyTorch file", "PyTorch", "pickle", "zip")
        if wrong:
            raise InputError(f"{name}: {wrong}")
        _check_records(file, size, name)
        try:
            loaded = torch.load(file, map_location="cpu", weights_only=True)
            state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
            if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
                raise InputError(f"{name}: holds no dictionary of tensors")
            return _arrays(torch, state, size, name)
        except (InputError, MemoryError):
            raise
        except Exception as error:  # torch raises many kinds for a broken or unsafe file
            raise InputError(
                f"{name}: not a file of plain tensors that can be read without running its code "
                f"({type(error).__name__}); save a state_dict, or convert it to safetensors"
            ) from None


def _check_records(file, size: int, name: str) -> None:
    """Raise InputError where the archive's records are packed, or are more than the file."""
    try:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            return  # of before PyTorch 1.6: its numbers are read from the file as they lie there
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{name}: the PyTorch file is damaged: {error}") from None
    file.seek(0)
    packed = [r.filename for r in records if r.compress_type != zipfile.ZIP_STORED
              or r.compress_size != r.file_size]  # fmt: skip
    if packed:
        raise InputError(f"{name}: '{packed[0]}' is packed, which PyTorch never does; save it anew")
    if sum(record.file_size for record in records) > size:
        raise InputError(f"{name}: its records are more than the file's {size} bytes")


def _arrays(torch, state: dict, size: int, name: str) -> dict:
    """The tensors as arrays. InputError where they are not stored element by element, or where all
    of them together are more than the file."""
    made: dict[tuple, object] = {}  # of tensors that are one, as tied weights are
    arrays, taken = {}, 0
    for key, tensor in state.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise InputError(f"{name}: '{key}' is not stored element by element")
        number = tensor.numel() * tensor.element_size()
        # A stored tensor may repeat its few elements along any number of axes.
        if number > tensor.untyped_storage().nbytes():
            raise InputError(f"{name}: '{key}' is not stored element by element")
        same = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if same not in made:
            taken += number
            if taken > size:
                raise InputError(f"{name}: its tensors are more than the file's {size} bytes")
            made[same] = tensor.detach().float().numpy()
        arrays[str(key)] = made[same]
    return arrays
