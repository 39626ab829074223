"""Parameter: a learnable blob as a layer's top."""

from __future__ import annotations

from ..core.layer import Layer
from ..proto import caffe_pb2
from . import register
from ._common import add_params


@register("Parameter")
class Parameter(Layer):
    """A parameter of the shape `parameter_param.shape`, 0 at first, for other layers to read.

    The top is the parameter itself, one memory for data and one for diff: what the top's readers
    write as its gradient replaces the parameter's and is not added to it, from pass to pass.
    """

    num_bottom = (0, 0)
    num_top = (1, 1)
    _keeps_tops = True

    def setup(self, bottom, top):
        shape = tuple(self.layer_param.parameter_param.shape.dim)
        add_params(self, ("the parameter", shape, caffe_pb2.FillerParameter()))

    def reshape(self, bottom, top):
        top[0].reshape_like(self.blobs[0])
        self._share(top)

    def forward(self, bottom, top):
        self._share(top)

    def _share(self, top):
        top[0].share_data(self.blobs[0])
        top[0].share_diff(self.blobs[0])
