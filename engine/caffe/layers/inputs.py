"""Layers without bottoms: Input and DummyData."""

from __future__ import annotations

from ..core.fillers import fill
from ..core.layer import Layer
from ..errors import InputError
from ..proto import caffe_pb2
from . import register


@register("Input")
class Input(Layer):
    """Blobs that the user fills; `input_param.shape` gives one shape for all or one for each."""

    num_bottom = (0, 0)
    num_top = (1, None)

    def setup(self, bottom, top):
        shapes = self.layer_param.input_param.shape
        if len(shapes) not in (0, 1, len(top)):
            raise self.fail(f"has {len(shapes)} shapes for {len(top)} tops; give one, or one each")
        for i, blob in enumerate(top):
            if shapes:
                blob.reshape(*shapes[i if len(shapes) > 1 else 0].dim)


@register("DummyData")
class DummyData(Layer):
    """Tops from fillers: constants once, everything else anew at each forward."""

    num_bottom = (0, 0)
    num_top = (1, None)

    def setup(self, bottom, top):
        shapes = self._shapes(len(top))
        given = self.layer_param.dummy_data_param.data_filler
        if len(given) not in (0, 1, len(top)):
            raise self.fail(f"has {len(given)} data_fillers for {len(top)} tops")
        fillers = list(given) or [caffe_pb2.FillerParameter()]
        self.fillers = fillers * len(top) if len(fillers) == 1 else fillers
        for blob, shape, filler in zip(top, shapes, self.fillers):
            blob.reshape(*shape)
            if filler.type == "constant":
                self._fill(blob, filler)

    def _shapes(self, tops: int) -> list[tuple[int, ...]]:
        param = self.layer_param.dummy_data_param
        legacy = [param.num, param.channels, param.height, param.width]
        if param.shape:
            if any(legacy):
                raise self.fail("give either shape or num/channels/height/width, not both")
            shapes = [tuple(s.dim) for s in param.shape]
        else:
            for name, sizes in zip(("num", "channels", "height", "width"), legacy):
                if len(sizes) not in (1, tops):
                    raise self.fail(
                        f"has {len(sizes)} {name} for {tops} tops; give one, or one each"
                    )
            each = [list(sizes) * (1 if len(sizes) == tops else tops) for sizes in legacy]
            shapes = list(zip(*each))
        if len(shapes) not in (1, tops):
            raise self.fail(f"has {len(shapes)} shapes for {tops} tops; give one, or one each")
        return shapes * tops if len(shapes) == 1 else shapes

    def forward(self, bottom, top):
        for blob, filler in zip(top, self.fillers):
            if filler.type != "constant":
                self._fill(blob, filler)
                blob.send()

    def _fill(self, blob, filler):
        try:
            fill(blob, filler)
        except InputError as err:
            raise self.fail(f"data_filler: {err}") from err
