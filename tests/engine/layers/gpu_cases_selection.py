"""Cases of test_layers_on_gpu.py: the layers that pick or repeat rows."""

import numpy as np

IMAGE = (2, 4, 5, 6)
FILLERS = 'weight_filler { type: "uniform" } bias_filler { type: "uniform" }'

CASES = [
    ("BatchReindex", "", [IMAGE, np.array([1, 0, 1, 1])], {}),
    ("Embed", f"embed_param {{ num_output: 3 input_dim: 5 {FILLERS} }}", [np.arange(8) % 5], {}),
    ("Filter", "", [IMAGE, np.array([0, 2])], {}),
    ("Parameter", "parameter_param { shape { dim: 3 } }", [], {}),
    ("Tile", "tile_param { tiles: 3 }", [IMAGE], {}),
]
