"""Caffe's formats: the protobuf schema, its text and binary forms, HDF5, and their upgrades."""
