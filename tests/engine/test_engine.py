from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe.engine import InputError, load_torch_weights


def test_tensors_of_a_pth_file_are_float32_arrays(tmp_path):
    path = tmp_path / "w.pth"
    weight = torch.nn.Parameter(torch.arange(6.0).view(2, 3))
    torch.save({"state_dict": {"fc.weight": weight, "count": torch.tensor(7)}}, path)
    found = load_torch_weights(path)
    assert {name: array.dtype for name, array in found.items()} == {
        "fc.weight": np.float32, "count": np.float32,
    }  # fmt: skip
    np.testing.assert_array_equal(found["fc.weight"], [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize(
    "tensor", [torch.ones(1).half().expand(1 << 20, 1 << 20), torch.ones(3).to_sparse()]
)
def test_a_small_file_that_claims_a_huge_tensor_is_refused(tmp_path, tensor):
    path = tmp_path / "w.pth"
    torch.save({"w": tensor}, path)
    with pytest.raises(InputError, match="w.pth: 'w' is not stored element by element"):
        load_torch_weights(path)


def test_code_in_a_pth_file_is_not_run(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"w": np.polyfit}, path)
    with pytest.raises(InputError, match="without running its code"):
        load_torch_weights(path)
