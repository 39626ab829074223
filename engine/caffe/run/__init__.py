"""How a net is wired and its passes run: what is folded, given back, made again, and when."""
