"""The tests: folders as in the tree, what they share in `helpers`, BVLC Caffe in `conformance`."""
