"""Cases of test_layers_on_gpu.py: the layers made of sums over axes."""

IMAGE = (2, 4, 5, 6)

CASES = [
    ("MVN", "", [IMAGE], {}),
    ("MVN", "mvn_param { across_channels: true }", [IMAGE], {"in_place": True}),
    ("MVN", "mvn_param { normalize_variance: false }", [IMAGE], {"in_place": True}),
    ("Reduction", "reduction_param { coeff: 2 }", [IMAGE], {}),
    ("Reduction", "reduction_param { operation: ASUM axis: 1 }", [IMAGE], {}),
    ("Reduction", "reduction_param { operation: SUMSQ axis: 2 }", [IMAGE], {}),
    ("Reduction", "reduction_param { operation: MEAN axis: -1 }", [IMAGE], {}),
]
