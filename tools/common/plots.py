"""Matplotlib as every command draws with it."""

from __future__ import annotations


def pyplot():
    """`matplotlib.pyplot`, drawing into files, with Matplotlib's own settings: a `matplotlibrc` in
    the working folder, which may be a download, has no say."""
    import matplotlib

    matplotlib.rcdefaults()
    matplotlib.use("Agg")
    from matplotlib import pyplot as made

    return made
