"""Label maps as pictures: the VOC palette, indexed PNGs, overlays, captioned panels (Pillow)."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from prototxt.files import write_atomic
from prototxt.tasks import VOC_CLASSES, VOID
from tools.common import files, written


def voc_palette(count=256):
    """The VOC colour map: count x 3 uint8 RGB."""
    from segmentation import known_colours  # here: it imports caffe, which is slow

    return known_colours.voc_palette(count)


def palette_kind(labels, palette):
    """How the colours of VOC's classes in a label map agree with VOC's: "voc", "other" or
    "shuffled".

    palette is n x 3 uint8, or None. "shuffled": some class has the colour of another one, as where
    colours were turned into a palette anew, and pixel values are no longer class numbers.
    """
    used = np.unique(labels)
    if palette is None or not used.size or used[-1] >= len(palette):
        return "other"
    colours = voc_palette(len(VOC_CLASSES))
    differ = (palette[used] != colours[used]).any(axis=1)
    if not differ.any():
        return "voc"
    things = {tuple(colour) for colour in colours[1:].tolist()}
    moved = any(tuple(colour) in things for colour in palette[used[differ]].tolist())
    return "shuffled" if moved else "other"


def colours_of(task):
    """256 x 3 uint8 RGB: the colours of a Task's classes, and VOC's for all else.

    task: None stands for one that has no colours of its own.
    """
    colours = voc_palette()
    if task is not None and task.palette:
        colours[: len(task.palette)] = task.palette
    return colours


def indexed(labels, colours=None):
    """H x W class numbers (0 to 255) as a palette picture.

    colours: 256 x 3 uint8 RGB, here and below; VOC's where not given.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or (labels.size and not 0 <= labels.min() <= labels.max() <= 255):
        raise ValueError(f"expected H x W labels from 0 to 255; the shape is {labels.shape}")
    image = Image.fromarray(np.ascontiguousarray(labels, np.uint8))
    image.putpalette((voc_palette() if colours is None else colours).ravel().tolist())
    return image


def png(image, **settings):
    """The bytes of a Pillow image, or of an H x W x 3 uint8 RGB array, as PNG with this toolkit's
    mark; settings: of Pillow's `save`."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, "PNG", pnginfo=written.png_mark(), **settings)
    return stream.getvalue()


def save_png(path, image, overwrite=False):
    """Write a Pillow image, or an H x W x 3 uint8 RGB array, as PNG, whole or not at all.

    Raises UserError where something else than such a picture is there, unless `overwrite`.
    """
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    if not overwrite:
        files.check_ours(path, written.picture_kind(image))
    write_atomic(path, png(image))


def save_indexed(path, labels, colours=None):
    """Write H x W class numbers as a palette PNG: the pixel values are the class numbers."""
    save_png(path, indexed(labels, colours))


def to_look_at(image, top, channels=None):
    """The image of a data layer's `top` ('data', 'color', 'hha', 'depth') as H x W x 3 uint8 in R,
    G, B. It is H x W (x C), in the blob's order of channels, without its mean subtracted.

    channels: what they are where they are not B, G, R (`segmentation.channels.Channels`).
    """
    if channels is not None:
        from segmentation.channels import to_look_at  # here: it imports caffe, which is slow

        return to_look_at(image, channels)
    if image.ndim == 2:
        low, high = image.min(), image.max()
        gray = 255 * (image - low) / max(high - low, 1e-9)
        return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)
    return image if top == "hha" else image[..., ::-1]


def overlay(rgb, labels, alpha=0.6, background=0, colours=None):
    """The photograph (H x W x 3 uint8) with the classes' colours blended in by `alpha`.

    The class `background` (None: no class) and void keep the photograph.
    """
    labels = np.asarray(labels)
    if rgb.shape[:2] != labels.shape:
        raise ValueError(f"photograph {rgb.shape[:2]} and labels {labels.shape} differ in size")
    out = np.array(rgb, np.uint8)
    drawn = labels != VOID
    if background is not None:
        drawn &= labels != background
    colours = voc_palette() if colours is None else colours
    drawn_in = colours[labels[drawn].astype(np.intp)]
    out[drawn] = np.rint(rgb[drawn] * (1.0 - alpha) + drawn_in * alpha).astype(np.uint8)
    return out


def views(rgb, truth, guess, background=0, colours=None):
    """[photograph, truth, prediction, overlay of the prediction] as H x W x 3 uint8 arrays.

    rgb: H x W x 3 uint8; truth, guess: H x W class numbers.
    """
    masks = [np.array(indexed(labels, colours).convert("RGB")) for labels in (truth, guess)]
    return [np.array(rgb), *masks, overlay(rgb, guess, background=background, colours=colours)]


VIEWS = ("photograph", "truth", "prediction", "overlay of the prediction")


def panel(images, captions=None, columns=None, gap=6):
    """Pictures of any size in a grid, captions above them; returns a Pillow image.

    `images` are Pillow images or uint8 arrays; `columns` defaults to all in one row.
    """
    pictures = [
        (Image.fromarray(i) if isinstance(i, np.ndarray) else i).convert("RGB") for i in images
    ]
    if not pictures:
        raise ValueError("a panel needs at least one picture")
    captions = list(captions or [])
    columns = min(columns or len(pictures), len(pictures))
    font = ImageFont.load_default()
    head = 16 if captions else 0
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    widths = [max(row[c].width for row in rows if c < len(row)) for c in range(columns)]
    heights = [max(p.height for p in row) + head for row in rows]
    size = (sum(widths) + gap * (columns + 1), sum(heights) + gap * (len(rows) + 1))
    sheet = Image.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        x = gap + sum(widths[:column]) + gap * column
        y = gap + sum(heights[:row]) + gap * row
        if number < len(captions):
            draw.text((x, y + 1), str(captions[number]), fill=(0, 0, 0), font=font)
        sheet.paste(picture, (x, y + head))
    return sheet


def with_legend(sheet, names, labels, colours=None):
    """A picture with the legend of the classes in `labels` below it."""
    key = legend(names, labels, columns=6, colours=colours)
    size = (max(sheet.width, key.width + 12), sheet.height + key.height + 6)
    whole = Image.new("RGB", size, "white")
    whole.paste(sheet, (0, 0))
    whole.paste(key, (6, sheet.height + 3))
    return whole


def legend(names, labels=None, columns=4, colours=None):
    """Colour boxes with class names; only the classes in `labels` where it is given."""
    present = range(len(names)) if labels is None else np.unique(labels)
    entries = [int(c) for c in present if c < len(names)]
    colours = voc_palette() if colours is None else colours
    columns = max(1, min(columns, len(entries)))
    width = 30 + 7 * max([len(names[c]) for c in entries] or [1])
    sheet = Image.new("RGB", (columns * width, 18 * max(1, -(-len(entries) // columns))), "white")
    draw = ImageDraw.Draw(sheet)
    for number, c in enumerate(entries):
        x, y = number % columns * width, number // columns * 18
        draw.rectangle([x + 2, y + 2, x + 16, y + 15], fill=tuple(colours[c].tolist()))
        draw.text((x + 21, y + 3), names[c], fill=(0, 0, 0), font=ImageFont.load_default())
    return sheet
