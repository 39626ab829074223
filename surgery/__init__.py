"""Net surgery: what happens to weights between a pretrained net and the net to be trained."""

from surgery.bilinear import interp, upsample_filt
from surgery.weights import expand_score, transplant

__all__ = ["expand_score", "interp", "transplant", "upsample_filt"]
