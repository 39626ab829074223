"""The definitions of the boundary and calibration scores, slowly: loops over pixels."""

from __future__ import annotations

import math

VOID = 255


def neighbours(y, x, height, width):
    for i, j in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
        if 0 <= i < height and 0 <= j < width:
            yield i, j


def outline(labels):
    """The pixels with another label beside them."""
    height, width = labels.shape
    return [
        (y, x)
        for y in range(height)
        for x in range(width)
        if any(labels[p] != labels[y, x] for p in neighbours(y, x, height, width))
    ]


def near(pixel, others, radius):
    return any(math.dist(pixel, other) < radius for other in others)


def trimap_hist(truth, prediction, classes, width):
    """The confusion matrix, as nested lists, of the pixels closer than `width` to a boundary."""
    hist = [[0] * classes for _ in range(classes)]
    border = outline(truth)
    for y in range(truth.shape[0]):
        for x in range(truth.shape[1]):
            if truth[y, x] != VOID and near((y, x), border, width):
                hist[truth[y, x]][prediction[y, x]] += 1
    return hist


def boundary_f(truth, prediction, label, share=0.0075):
    """F of one class in one image, with a tolerance of that share of the diagonal; None where
    neither has a boundary of it."""
    radius = share * math.hypot(*truth.shape)
    wanted = [p for p in outline(truth) if truth[p] == label]
    drawn = [p for p in outline(prediction) if prediction[p] == label]
    counted = [p for p in drawn if truth[p] != VOID or near(p, wanted, radius)]
    if not wanted and not counted:
        return None
    right = sum(near(p, wanted, radius) for p in counted)
    matched = sum(near(p, drawn, radius) for p in wanted)
    if not right or not matched:
        return 0.0
    precision, recall = right / len(counted), matched / len(wanted)
    return 2 * precision * recall / (precision + recall)


def band(labels, label):
    """The pixels of a class that lie within the band of boundary IoU."""
    height, width = labels.shape
    reach = max(1, round(0.02 * math.hypot(height, width)))
    found = set()
    for y in range(height):
        for x in range(width):
            around = [
                0 <= i < height and 0 <= j < width and labels[i, j] == label
                for i in range(y - reach, y + reach + 1)
                for j in range(x - reach, x + reach + 1)
            ]
            if labels[y, x] == label and not all(around):
                found.add((y, x))
    return found


def band_counts(truth, prediction, label):
    """(intersection, union) of one class's bands in one image."""
    void = {
        (y, x) for y in range(truth.shape[0]) for x in range(truth.shape[1]) if truth[y, x] == VOID
    }
    wanted, found = band(truth, label) - void, band(prediction, label) - void
    return len(wanted & found), len(wanted | found)


def ece(pixels):
    """The expected calibration error of (confidence, whether right) of pixels, in 15 bins."""
    bins = [[] for _ in range(15)]
    for confidence, right in pixels:
        number = next(k for k in range(15) if k == 14 or confidence <= (k + 1) / 15)
        bins[number].append((confidence, right))
    error = 0.0
    for found in bins:
        if found:
            confidence = sum(c for c, _ in found) / len(found)
            accuracy = sum(r for _, r in found) / len(found)
            error += len(found) / len(pixels) * abs(accuracy - confidence)
    return error
