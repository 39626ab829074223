"""Sizes, strides, receptive fields and parameters by arithmetic (equations 1 to 4)."""
