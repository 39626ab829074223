"""How a net's passes run: what is folded, given back, made again, and when."""
