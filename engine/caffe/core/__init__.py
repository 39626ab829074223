"""What a net is: blobs, layers, the graph, fillers, weights."""
