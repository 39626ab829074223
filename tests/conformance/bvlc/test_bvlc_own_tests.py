"""BVLC Caffe's own tests of pycaffe, all 52, run with the engine.

They are in Debian's source package, from where `tools/bvlc-caffe install` takes them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from tests.conformance import both, report

TESTS = {
    "test_coord_map.py": 11, "test_draw.py": 1, "test_io.py": 5, "test_layer_type_list.py": 1,
    "test_nccl.py": 1, "test_net.py": 18, "test_net_spec.py": 3, "test_python_layer.py": 6,
    "test_python_layer_with_param_str.py": 2, "test_solver.py": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def folders():
    """(the folder of the tests, the folder that BVLC Caffe lies in)."""
    found = [
        subprocess.run([str(both.TOOL), what], capture_output=True, text=True).stdout.strip()
        for what in ("tests", "path")
    ]
    if not os.path.isdir(found[0]):
        pytest.skip("BVLC Caffe's own tests are not there; tools/bvlc-caffe install fetches them")
    return found


def test_all_files_of_tests_are_run(folders):
    names = {name for name in os.listdir(folders[0]) if name.startswith("test_")}
    assert names == set(TESTS)


@pytest.mark.parametrize("name", TESTS)
def test_bvlc_caffes_own_tests_pass(folders, name, tmp_path):
    if name == "test_draw.py" and (shutil.which("dot") is None or both.BVLC_ON_BOTH_SIDES):
        pytest.skip("drawing nets needs Graphviz's dot (the package graphviz), and pydot")
    tests, root = folders
    six = f"{root}/usr/lib/python3/dist-packages/six.py"
    done = subprocess.run(
        [*both.command("engine"), str(both.HERE / "own_tests.py"), f"{tests}/{name}", six],
        env=both.environment("engine"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(re.search(r"^Ran (\d+) tests?", done.stderr, re.M)[1]) == TESTS[name]
    assert "skipped" not in done.stderr
    report.record("own tests", name, cases=TESTS[name])
