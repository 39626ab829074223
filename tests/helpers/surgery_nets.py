"""Small nets and small weight files in the real formats."""

from __future__ import annotations

import numpy as np

from caffe.proto import caffe_pb2

CONVOLUTION = """layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"
  convolution_param {{ num_output: {outputs} kernel_size: {size} pad: {pad} }} }}
layer {{ name: "relu_{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}
"""

HEAD = """layer {{ name: "pool1" type: "Pooling" bottom: "conv1_2" top: "pool1"
  pooling_param {{ pool: MAX kernel_size: 8 stride: 8 }} }}
layer {{ name: "fc6" type: "Convolution" bottom: "pool1" top: "fc6"
  convolution_param {{ num_output: 6 kernel_size: 3 dilation: 3 }} }}
layer {{ name: "relu6" type: "ReLU" bottom: "fc6" top: "fc6" }}
layer {{ name: "drop6" type: "Dropout" bottom: "fc6" top: "fc6" }}
layer {{ name: "fc7" type: "Convolution" bottom: "fc6" top: "fc7"
  convolution_param {{ num_output: 6 kernel_size: 1 }} }}
layer {{ name: "relu7" type: "ReLU" bottom: "fc7" top: "fc7" }}
layer {{ name: "score_fr" type: "Convolution" bottom: "fc7" top: "score_fr"
  convolution_param {{ num_output: {classes} kernel_size: 1 }} }}
layer {{ name: "upscore" type: "Deconvolution" bottom: "score_fr" top: "upscore"
  param {{ lr_mult: 0 }}
  convolution_param {{ num_output: {classes} kernel_size: 16 stride: 8 bias_term: false }} }}
layer {{ name: "scale_pool1" type: "Scale" bottom: "pool1" top: "scale_pool1"
  param {{ lr_mult: 0 }} scale_param {{ filler {{ type: "constant" value: 0.01 }} }} }}
layer {{ name: "score_pool1" type: "Convolution" bottom: "scale_pool1" top: "score_pool1"
  convolution_param {{ num_output: {classes} kernel_size: 1 }} }}
layer {{ name: "Cropping" type: "Crop" bottom: "upscore" bottom: "data" top: "score"
  crop_param {{ axis: 2 offset: 4 }} }}
layer {{ name: "Cropping" type: "Crop" bottom: "score_pool1" bottom: "fc6" top: "unread"
  crop_param {{ axis: 2 offset: 0 }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }}
"""

DATA = """layer {{ name: "data" type: "Python" top: "data" top: "label"
  python_param {{ module: "no_such_module" layer: "NoSuchLayer"
    param_str: "{{'folder': '/nowhere', 'mean': ({mean})}}" }} }}
"""


def small_train_net(classes=3, mean="104.0, 116.0, 122.0", first="conv1_1"):
    """A dilated FCN of two convolutions of 4 channels, fc6 and fc7 of 6, whose data is nowhere."""
    return (
        DATA.format(mean=mean)
        + CONVOLUTION.format(name=first, bottom="data", outputs=4, size=3, pad=40)
        + CONVOLUTION.format(name="conv1_2", bottom=first, outputs=4, size=3, pad=1)
        + HEAD.format(classes=classes)
    )


def small_vgg(seed=0):
    """Weights for it with the layers and layouts that VGG has: fc6 reads 7x7 of 4 channels."""
    random = np.random.RandomState(seed)
    shapes = {
        "conv1_1": (4, 3, 3, 3),
        "conv1_2": (4, 4, 3, 3),
        "fc6": (6, 4 * 7 * 7),
        "fc7": (6, 6),
        "fc8": (10, 6),
    }
    return {
        name: [random.randn(*shape).astype("f4"), random.randn(shape[0]).astype("f4")]
        for name, shape in shapes.items()
    }


def v1_caffemodel(weights):
    """A caffemodel in the V1 format, whose blobs have num, channels, height and width."""
    net = caffe_pb2.NetParameter(name="small")
    for name, arrays in weights.items():
        kind = "CONVOLUTION" if arrays[0].ndim == 4 else "INNER_PRODUCT"
        layer = net.layers.add(name=name, type=kind)
        for array in arrays:
            blob = layer.blobs.add(data=array.ravel().tolist())
            axes = (1,) * (4 - array.ndim) + array.shape
            blob.num, blob.channels, blob.height, blob.width = axes
    return net.SerializeToString()


def caffemodel(weights):
    """A caffemodel in the format of today."""
    net = caffe_pb2.NetParameter(name="small")
    for name, arrays in weights.items():
        layer = net.layer.add(name=name, type="Convolution")
        for array in arrays:
            layer.blobs.add(data=array.ravel().tolist(), shape={"dim": array.shape})
    return net.SerializeToString()


def layer_net(layer, name, **parameters):
    """The text of a net of one layer with an input of 1 x channels x 8 x 8."""
    channels = parameters.pop("channels")
    fields = " ".join(f"{key}: {value}" for key, value in parameters.items())
    return (
        'layer { name: "data" type: "Input" top: "data" '
        f"input_param {{ shape {{ dim: [1, {channels}, 8, 8] }} }} }}\n"
        f'layer {{ name: "{name}" type: "{layer}" bottom: "data" top: "{name}" '
        f"convolution_param {{ {fields} }} }}\n"
    )
