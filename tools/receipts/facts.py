"""Facts for a receipt: files by their hashes, the toolkit's state, the machine."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from pathlib import Path

import numpy as np

import caffe
from prototxt.opening import open_regular
from tools.common import processor

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("engine", "data_layers", "prototxt", "surgery", "solvers", "tools")
_PART = 1 << 20
NOT_READ = "cannot be read"


def sha256(path) -> str:
    """The SHA-256 of a file, as `sha256sum` prints it; of a folder, of its files' names and hashes.
    NOT_READ where it cannot be read."""
    found = hashlib.sha256()
    try:
        if os.path.isdir(path):
            for name in sorted(os.listdir(path)):
                found.update(f"{name} {sha256(os.path.join(path, name))}\n".encode())
            return found.hexdigest()
        with open_regular(path) as file:
            while part := file.read(_PART):
                found.update(part)
    except OSError:
        return NOT_READ
    return found.hexdigest()


def toolkit() -> dict[str, str | list[str]]:
    """What the toolkit's code is: a hash of its sources, and where it is a git checkout the commit
    and the files that have changed since."""
    sources = hashlib.sha256()
    for room in SOURCES:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in (".py", ".tsv") and "__pycache__" not in path.parts:
                sources.update(f"{path.relative_to(ROOT).as_posix()} {sha256(path)}\n".encode())
    found: dict[str, str | list[str]] = {"sources": sources.hexdigest()}
    commit = _git("rev-parse", "HEAD")
    if commit and (ROOT / ".git").exists():
        found["commit"] = commit.strip()
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", *SOURCES) or ""
        found["changed"] = [line[3:] for line in changed.splitlines()]
    return found


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def machine() -> dict[str, str]:
    """What numbers may depend on besides files: versions, device, processor, threads, settings."""
    engine = getattr(caffe, "engine", None)
    found = {"processor": _processor()}
    if engine is None:
        known = {
            "Caffe": getattr(caffe, "__version__", "?"),
            "NumPy": np.__version__,
            "Python": f"{platform.python_version()} on {platform.platform()}",
            "threads": os.environ.get("OMP_NUM_THREADS", "chosen by BLAS"),
        }
    else:
        known = engine.facts()
    return {**found, **known}


def _processor() -> str:
    """The processor's name and the widest of its vector instructions that numbers depend on."""
    flags = set(processor.fields().get("flags", "").split())
    widest = [name for name in ("avx512f", "avx2", "avx", "sse4_2") if name in flags][:1]
    return ", ".join([processor.name(), *widest])
