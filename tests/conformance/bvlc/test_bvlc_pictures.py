"""Pictures of every kind, in colour, grey, and as an encoded Datum stores them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.conformance import both, report
from tests.conformance.data_nets import files

GAMMA = struct.pack(">I", 45455)
SRGB = b"\0"
HOWS = ("colour", "grey", "stored")


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(array, depth=8, colours=2, width=None, **chunks):
    """A PNG's bytes, of uint8 or (16 bits) big-endian rows, with more `chunks` before them."""
    height = len(array)
    head = struct.pack(">IIBBBBB", width or array.shape[1], height, depth, colours, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in array)
    more = b"".join(chunk(name.encode(), data) for name, data in chunks.items())
    parts = chunk(b"IHDR", head) + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def saved(image, form, **more):
    file = io.BytesIO()
    image.save(file, form, **more)
    return file.getvalue()


def pixels(*channels, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (16, 20, *channels)).astype(np.uint8)


def wide(*channels):
    return np.random.RandomState(0).randint(0, 65536, (16, 20, *channels)).astype(">u2")


def of_palette(transparency=None, form="PNG"):
    image = Image.fromarray(pixels() // 64)
    image.putpalette([10, 20, 30, 200, 100, 50, 0, 255, 0, 90, 80, 250])
    return saved(image, form, **({} if transparency is None else {"transparency": transparency}))


def inks():
    bands = [Image.fromarray(files.scene(i, 40, 48)[..., 0].copy()) for i in range(4)]
    return Image.merge("CMYK", bands)


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


GREYISH = np.where(pixels()[..., None] < 99, pixels(1), pixels(3))
PICTURES = {
    "PNG": png(pixels(3)),
    "PNG with gamma": png(GREYISH, gAMA=GAMMA),
    "PNG with a gamma of 0.3": png(GREYISH, gAMA=struct.pack(">I", 30000)),
    "PNG with a gamma of 1": png(GREYISH, gAMA=struct.pack(">I", 100000)),
    "PNG with a gamma next to 1": png(GREYISH, gAMA=struct.pack(">I", 103000)),
    "PNG of sRGB": png(GREYISH, sRGB=SRGB),
    "PNG of sRGB, with gamma": png(GREYISH, sRGB=SRGB, gAMA=struct.pack(">I", 30000)),
    "grey PNG with gamma": png(pixels(), colours=0, gAMA=GAMMA),
    "transparent PNG with gamma": png(pixels(4), colours=6, gAMA=GAMMA),
    "grey PNG with alpha": png(pixels(2), colours=4),
    "PNG with alpha": png(pixels(4), colours=6),
    "PNG of a palette": of_palette(),
    "PNG of a palette with one transparent colour": of_palette(1),
    "PNG of a palette with alpha": of_palette(bytes([0, 100, 200, 255])),
    "PNG with a transparent colour": saved(
        Image.fromarray(pixels(3) // 128), "PNG", transparency=(0, 1, 1)
    ),
    "grey PNG with a transparent grey": saved(
        Image.fromarray(pixels() // 128), "PNG", transparency=1
    ),
    "PNG of 1 bit": png(pixels()[:, :3], depth=1, colours=0, width=24),
    "grey PNG of 16 bits": png(wide(), depth=16, colours=0),
    "TIFF": saved(Image.fromarray(pixels(3)), "TIFF"),
    "TIFF, compressed": saved(Image.fromarray(pixels(3)), "TIFF", compression="tiff_lzw"),
    "TIFF with alpha": saved(Image.fromarray(pixels(4)), "TIFF"),
    "grey TIFF with alpha": saved(Image.fromarray(pixels(2), "LA"), "TIFF"),
    "TIFF of inks": saved(inks(), "TIFF"),
    "TIFF of a palette": of_palette(form="TIFF"),
    "TIFF of 16 bits": saved(Image.fromarray(wide().astype("<u2")), "TIFF"),
    "TIFF of floats": saved(Image.fromarray(pixels().astype("f4")), "TIFF"),
    "TIFF of 32 bits": saved(Image.fromarray(pixels().astype("i4")), "TIFF"),
    "TIFF that lies on its side": saved(
        Image.fromarray(pixels(3)), "TIFF", tiffinfo={0x0112: 6}
    ),
    "PNG with an orientation": saved(Image.fromarray(pixels(3)), "PNG", exif=turned()),
    "JPEG that lies on its side": saved(
        Image.fromarray(files.scene(0, 40, 48)), "JPEG", quality=95, exif=turned()
    ),
    "JPEG of inks": saved(inks(), "JPEG", quality=95),
    "grey JPEG": saved(Image.fromarray(files.scene(0, 40, 48)).convert("L"), "JPEG"),
    "BMP": saved(Image.fromarray(pixels(3)), "BMP"),
    "BMP of a palette": of_palette(form="BMP"),
    "PPM": saved(Image.fromarray(pixels(3)), "PPM"),
    "PGM": saved(Image.fromarray(pixels()), "PPM"),
    "WebP": saved(Image.fromarray(pixels(3)), "WEBP", lossless=True),
    "no picture": b"<html>",
    "a PNG cut short": png(pixels(3))[:-40],
}  # fmt: skip
ONLY_THE_ENGINE_READS = {("WebP", "stored")}


def read_by(side, folder, how):
    """The picture that an ImageData or a Data layer reads, and "refused" where it is."""
    if how == "stored":
        body = f'data_param {{ source: "{folder}/db" backend: LMDB batch_size: 1 }}'
        kind = "Data"
    else:
        body = f'source: "{folder}/list.txt" is_color: {str(how == "colour").lower()}'
        kind, body = "ImageData", f"image_data_param {{ {body} }}"
    text = f'layer {{ name: "d" type: "{kind}" top: "data" top: "label" {body} }}'
    try:
        return both.run(side, "batches", {"prototxt": text, "times": 1})["0 data"]
    except both.ScenarioFailed as failure:
        assert failure.refused, failure
        return "refused"


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("what", PICTURES)
def test_a_picture_is_read_alike(tmp_path, what, how):
    (tmp_path / "picture").write_bytes(PICTURES[what])
    (tmp_path / "list.txt").write_text(f"{tmp_path}/picture 0\n")
    if how == "stored":
        files.write_lmdb(tmp_path / "db", [files.encoded_datum(PICTURES[what])])
    theirs, ours = (read_by(side, tmp_path, how) for side in both.SIDES)
    if (what, how) in ONLY_THE_ENGINE_READS:
        assert isinstance(theirs, str) and not isinstance(ours, str)
        return
    assert isinstance(theirs, str) == isinstance(ours, str)
    if not isinstance(theirs, str):
        limit = 0.02 if "JPEG" in what else 0.0
        errors = both.compare({"picture": theirs}, {"picture": ours}, limit)
        report.record("data", f"pictures: {what}", errors)


@pytest.mark.parametrize("colours", [2, 6])
def test_grey_of_16_bits_is_within_one_level(tmp_path, colours):
    data = png(wide(3 if colours == 2 else 4), depth=16, colours=colours)
    (tmp_path / "picture").write_bytes(data)
    (tmp_path / "list.txt").write_text(f"{tmp_path}/picture 0\n")
    theirs, ours = (read_by(side, tmp_path, "grey") for side in both.SIDES)
    assert np.abs(theirs - ours).max() <= 1
