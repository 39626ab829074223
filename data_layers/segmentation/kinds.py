"""Files of another kind than was meant, named as what they are."""

from __future__ import annotations


# As prototxt.files.wrong_kind, which a data layer that stands alone does not have.
def wrong_kind(path, wanted, *accepted):
    """That the file `path` is of another kind than `wanted` ("a picture"; `accepted` are the
    engine's short names of kinds), and what to do; "" where the engine does not run, or knows no
    better."""
    import caffe  # here: PyTorch is slow to import, and this is for files that are wrong

    engine = getattr(caffe, "engine", None)
    return engine.misfit(path, wanted, *accepted) if engine else ""
