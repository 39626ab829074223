"""Caffe's own lines of a training log."""

from __future__ import annotations

import re

LOSS = re.compile(r"\] Iteration (\d+)(?: \([^)]*\))?, loss = (\S+)")
"""A displayed iteration and its loss."""
RATE = re.compile(r"\] Iteration (\d+), lr = (\S+)")
"""A displayed iteration and its learning rate, behind its loss."""
