"""One HTML page of a training: what is shown, its pictures, curves and tables."""
