"""The learnable parameters of a net: owners, multipliers, sharing by name."""

from __future__ import annotations

from ..proto import caffe_pb2


def _or_one(multiplier: float | None) -> float:
    return 1.0 if multiplier is None else multiplier


class Learnable:
    """The distinct parameter blobs of a net in order, with their lr_mult and decay_mult."""

    def __init__(self):
        self.blobs: list = []
        self.names: list[str] = []
        self._lr: list[float | None] = []
        self._decay: list[float | None] = []
        self._owner: dict[str, int] = {}

    @property
    def lr_mult(self) -> list[float]:
        return [_or_one(value) for value in self._lr]

    @property
    def decay_mult(self) -> list[float]:
        return [_or_one(value) for value in self._decay]

    def multipliers(self, index: int) -> tuple[float, float]:
        """lr_mult and decay_mult of one parameter."""
        return _or_one(self._lr[index]), _or_one(self._decay[index])

    def add_layer(self, layer) -> list[float]:
        """Take in a layer's blobs; return the lr_mult of each as its own ParamSpec says.

        A named parameter that an earlier layer owns is shared: memory of the owner, and one
        entry in the list of learnable blobs.
        """
        specs = list(layer.layer_param.param)
        if len(specs) > len(layer.blobs):
            raise layer.fail(f"{len(specs)} param entries for {len(layer.blobs)} parameter blobs")
        specs += [caffe_pb2.ParamSpec()] * (len(layer.blobs) - len(specs))
        for i, (blob, spec) in enumerate(zip(layer.blobs, specs)):
            if spec.name and spec.name in self._owner:
                self._share(layer, i, blob, spec)
                continue
            if spec.name:
                self._owner[spec.name] = len(self.blobs)
            self.blobs.append(blob)
            self.names.append(spec.name or f"{layer.layer_param.name}[{i}]")
            self._lr.append(spec.lr_mult if spec.HasField("lr_mult") else None)
            self._decay.append(spec.decay_mult if spec.HasField("decay_mult") else None)
        return [spec.lr_mult for spec in specs]

    def _share(self, layer, i: int, blob, spec) -> None:
        index = self._owner[spec.name]
        owner = self.blobs[index]
        permissive = caffe_pb2.ParamSpec.PERMISSIVE
        same = (
            owner.count == blob.count
            if spec.share_mode == permissive
            else (owner.shape == blob.shape)
        )
        if not same:
            raise layer.fail(
                f"parameter {i} '{spec.name}' is shared: shape {blob.shape} here, "
                f"{owner.shape} at its owner"
            )
        for field, known in (("lr_mult", self._lr), ("decay_mult", self._decay)):
            if not spec.HasField(field):
                continue
            value = getattr(spec, field)
            if known[index] is not None and known[index] != value:
                raise layer.fail(
                    f"shared parameter '{spec.name}' has {field} {value:g} here and "
                    f"{known[index]:g} elsewhere"
                )
            known[index] = value
        blob.share_data(owner)
        blob.share_diff(owner)
