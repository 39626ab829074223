"""The modules of Python layers that the toolkit imports are those that the engine would."""

import sys

import pytest

import caffe
from tools.common.cli import UserError
from tools.common.nets import layer_module

ENGINE = hasattr(caffe, "engine")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a layer's module, in a folder that nobody has named yet."""
    folder = tmp_path / "mylayers_of_ours"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "pictures.py").write_text("LAYER = 1\n")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("mylayers_of_ours")]:
        del sys.modules[name]


def test_a_module_in_a_package_on_the_path_is_imported(package, monkeypatch):
    monkeypatch.syspath_prepend(str(package))
    assert layer_module("net", "mylayers_of_ours.pictures").LAYER == 1


@pytest.mark.skipif(not ENGINE, reason="BVLC Caffe imports any module")
@pytest.mark.parametrize("name", ["mylayers_of_ours.pictures", "subprocess", "os.path", "", "a/b"])
def test_a_module_from_elsewhere_is_refused(package, name):
    with pytest.raises(UserError, match="no module"):
        layer_module("net", name)
