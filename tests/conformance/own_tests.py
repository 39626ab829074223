"""Runs one of BVLC Caffe's own test files of pycaffe, under whichever `caffe` is importable.

    python own_tests.py FILE SIX

SIX is the package six, of which the files take what Python 3 has by itself; it need not be
installed. Python >= 3.9.
"""

from __future__ import annotations

import importlib.util
import sys
import unittest


def load(name, path):
    """The module in the file `path`, importable by `name` from now on."""
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Older names of these methods; Python 3.12 has them no more.
for new in ("assertEqual", "assertRaisesRegex", "assertNotEqual", "assertAlmostEqual"):
    old = {"assertRaisesRegex": "assertRaisesRegexp"}.get(new, f"{new}s")
    if not hasattr(unittest.TestCase, old):
        setattr(unittest.TestCase, old, getattr(unittest.TestCase, new))

if __name__ == "__main__":
    file, six = sys.argv[1:]
    load("six", six)
    folder, _, name = file.rpartition("/")
    sys.path.insert(0, folder)  # one file takes a net from another
    tests = unittest.defaultTestLoader.loadTestsFromName(name[: -len(".py")])
    result = unittest.TextTestRunner(verbosity=2).run(tests)
    sys.exit(not result.wasSuccessful())
