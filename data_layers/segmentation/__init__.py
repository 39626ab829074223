"""What the segmentation data layers share; a data set's own layer starts from these."""

from .layer import COMMON, SegmentationLayer, Source

__all__ = ["COMMON", "SegmentationLayer", "Source"]
