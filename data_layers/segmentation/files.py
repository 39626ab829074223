"""Files of segmentation data sets: split lists, photographs, label maps; every error names one.

Photographs are taken as they are stored: an EXIF orientation is not applied, since the labels of
VOC and its kin are drawn on the stored pixels.
"""

from __future__ import annotations

import os

import numpy as np
from PIL import Image

from segmentation.params import DataError

VOID = 255
_NO_LIST = ("<", "{", "version https://git-lfs")  # how web pages, messages and pointers begin
MAX_PIXELS = 50_000_000  # a picture this large needs 600 MB as a float blob
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png")
# Only plain raster formats: Pillow would otherwise start an outside program for some (EPS).
IMAGE_FORMATS = ("JPEG", "PNG")


def wrong_kind(path, wanted, *accepted):
    """That the file `path` is of another kind than `wanted` ("a picture"; `accepted` are the
    engine's short names of kinds), and what to do; "" where the engine does not run, or knows no
    better."""
    import caffe  # here: PyTorch is slow to import, and this is for files that are wrong

    engine = getattr(caffe, "engine", None)
    return engine.misfit(path, wanted, *accepted) if engine else ""


def read_lines(path, expected):
    """[(number, text)] of the lines of a text file that are not blank, stripped, from 1.

    `expected` says what a line should be, for the message. Raises DataError.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; is the data set's folder right?") from None
    except UnicodeDecodeError:
        wrong = wrong_kind(path, f"a text of {expected} a line") or "not a text file"
        raise DataError(f"{path}: {wrong}; expected {expected} a line") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if lines and lines[0].startswith(_NO_LIST):
        wrong = wrong_kind(path, f"a text of {expected} a line", "text")
        if wrong:
            raise DataError(f"{path}: {wrong}")
    return [(n, line.strip()) for n, line in enumerate(lines, 1) if line.strip()]


def read_split(path):
    """The ids of a split file, one a line, in its order. Raises DataError."""
    if not os.path.exists(path):
        made = "; tools/seg12val.py makes it" if path.endswith("seg12val.txt") else ""
        raise DataError(f"{path}: no such split file{made or _splits_beside(path)}")
    lines = read_lines(path, "one image id")
    for number, name in lines:
        if not _safe(name):
            raise DataError(
                f"{path}:{number}: {name[:60]!r} is not an image id; "
                "expected a file name without folder tricks and extension"
            )
    if not lines:
        raise DataError(f"{path}: the split is empty; expected one image id a line")
    return [name for _, name in lines]


def split_file(folder, split):
    """`folder`/`split`.txt, where `split` is a plain name."""
    if not _safe(split):
        raise DataError(f"split {split!r} is not a name; expected one such as 'train' or 'val'")
    return os.path.join(folder, split + ".txt")


def _safe(name):
    parts = name.split("/")
    return not (
        any(part in ("", ".", "..") for part in parts)
        or "\\" in name
        or any(ord(letter) < 32 for letter in name)
    )


def _splits_beside(path):
    folder = os.path.dirname(path) or "."
    try:
        names = sorted(n[:-4] for n in os.listdir(folder) if n.endswith(".txt"))
    except OSError:
        return f" (nor its folder {folder}); is the data set's folder right?"
    return f"; splits there: {', '.join(names[:8]) or 'none'}"


def find(folder, name, extensions, what):
    """The path of `name` with the first of `extensions` that exists. Raises DataError."""
    for extension in extensions:
        path = os.path.join(folder, name + extension)
        if os.path.isfile(path):
            return path
    others = f" (nor {', '.join(extensions[1:])})" if len(extensions) > 1 else ""
    raise DataError(f"{os.path.join(folder, name + extensions[0])}: no such {what}{others}")


def read_rgb(path, formats=IMAGE_FORMATS, max_pixels=MAX_PIXELS):
    """A picture as H x W x 3 uint8 RGB.

    Gray and palette pictures become RGB, CMYK is converted, alpha is dropped, 16-bit gray keeps
    its upper 8 bits. Raises DataError.
    """

    def decode(image):
        if image.mode in ("RGB", "L"):
            array = np.asarray(image)
        elif image.mode.startswith("I;16") or image.mode == "I":
            array = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        elif image.mode == "F":
            raise DataError(f"{path}: float pixels; save it as an 8-bit picture")
        else:
            array = np.asarray(image.convert("RGB"))
        return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array

    return read_picture(path, formats, max_pixels, decode)


def read_bgr(path):
    """A photograph as H x W x 3 uint8, channels B, G, R."""
    return read_rgb(path)[..., ::-1]


def read_label(path, max_pixels=MAX_PIXELS):
    """A label map as H x W uint8: a palette PNG's indices or a gray PNG's values.

    Raises DataError; labels drawn in RGB are refused.
    """

    def decode(image):
        if image.mode in ("P", "L", "1"):
            return np.asarray(image).astype(np.uint8)
        if image.mode.startswith("I"):
            array = np.asarray(image)
            if array.min() < 0 or array.max() > 255:
                raise DataError(f"{path}: 16-bit label with values above 255; use classes 0 to 254")
            return array.astype(np.uint8)
        raise DataError(
            f"{path}: label in {image.mode} colours; save it as a palette or gray PNG whose "
            f"pixel values are the class numbers ({VOID} for void)"
        )

    return read_picture(path, ("PNG",), max_pixels, decode)


def read_millimetres(path, max_pixels=MAX_PIXELS):
    """A depth map, a 16-bit gray PNG of millimetres, as H x W uint16; 0 is not measured.

    Raises DataError.
    """

    def decode(image):
        if not image.mode.startswith("I"):
            raise DataError(
                f"{path}: depth in {image.mode} pixels; expected a 16-bit gray PNG of millimetres"
            )
        return np.asarray(image).astype(np.uint16)  # Pillow's "I" of a PNG is 16 bits, too

    return read_picture(path, ("PNG",), max_pixels, decode)


def read_picture(path, formats, max_pixels, decode):
    """decode(Pillow image, loaded) of a picture in one of `formats`. Raises DataError."""
    if any(kind not in Image.OPEN for kind in formats):
        Image.init()
    try:
        with Image.open(path, formats=[k for k in formats if k in Image.OPEN]) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise DataError(
                    f"{path}: {width}x{height} pixels are more than {max_pixels}; scale it down"
                )
            image.load()  # here, since NumPy hides what goes wrong in asarray(image)
            return decode(image)
    except (DataError, MemoryError):
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path}: more than {max_pixels} pixels; scale it down") from None
    except Image.UnidentifiedImageError:
        if os.path.getsize(path) == 0:
            raise DataError(f"{path}: the file is empty; fetch it again") from None
        kinds = "/".join(f for f in formats if f != "MPO")
        wrong = wrong_kind(path, f"a {kinds} picture", *formats)
        raise DataError(
            f"{path}: {wrong or f'not a {kinds} picture, or damaged at its head'}"
        ) from None
    except Exception as error:  # Pillow's decoders raise nearly every kind
        told = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({told}); fetch it again") from None


def check_labels(path, label, classes):
    """Raise DataError if `label` (H x W integers) holds a value that is no class and not void."""
    wrong = (label >= classes) & (label != VOID)
    if label.dtype.kind != "u":
        wrong |= label < 0
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(
            f"{path}: label {int(label[row, column])} at row {row}, column {column} is not below "
            f"the {classes} classes; mend the label, or the number of classes ('classes' "
            "in param_str, or in the TOML)"
        )


def check_sizes(sizes):
    """Raise DataError unless all of {path: H x W array} have one height and width."""
    (first, a), *others = sizes.items()
    for path, b in others:
        if a.shape[:2] != b.shape[:2]:
            raise DataError(
                f"{path}: {b.shape[1]}x{b.shape[0]} pixels, but {first} has "
                f"{a.shape[1]}x{a.shape[0]}; they must be of one size"
            )
