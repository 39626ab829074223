"""Cases of test_layers_on_gpu.py: Im2col and SPP."""

IMAGE = (2, 4, 5, 6)

CASES = [
    ("Im2col", "convolution_param { kernel_size: 3 pad: 1 stride: 2 }", [IMAGE], {}),
    ("Im2col", "convolution_param { kernel_size: 2 dilation: 2 axis: 0 }", [IMAGE], {}),
    ("SPP", "spp_param { pyramid_height: 1 }", [IMAGE], {}),
    ("SPP", "spp_param { pyramid_height: 2 pool: AVE }", [IMAGE], {}),
    ("SPP", "spp_param { pyramid_height: 2 }", [IMAGE], {}),
]
