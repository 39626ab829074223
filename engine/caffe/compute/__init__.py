"""How numbers are computed: devices, precision, random numbers, convolution, folds."""
