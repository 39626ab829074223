"""MATLAB files of version 7.3, which are HDF5 files: arrays lie transposed, structs are groups."""

from __future__ import annotations

import zlib

import numpy as np

import caffe
from segmentation.params import DataError

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_CHUNKS = 1 << 16  # of one array


def is_hdf5(data):
    """Whether the bytes of a .mat file are of version 7.3, or HDF5 without MATLAB's header."""
    return data[:10] == b"MATLAB 7.3" or HDF5_SIGNATURE in (data[:8], data[512:520])


def read_hdf5(path, data, fields, max_bytes):
    """The array `fields[0].fields[1]...` as MATLAB shows it, or None where the file lacks it.

    `data` are the bytes of the file `path`. Raises DataError, and whatever h5py raises for a
    damaged file.
    """
    try:
        import h5py
    except ImportError:
        raise DataError(
            f"{path}: a MATLAB 7.3 file needs h5py (pip install h5py); or save it with -v7"
        ) from None

    engine = getattr(caffe, "engine", None)
    trouble = engine.hdf5_trouble(data) if engine else ""
    if trouble:
        raise DataError(f"{path}: a MATLAB 7.3 file that {trouble}; fetch it again")
    try:
        # From memory: HDF5 locks a file that it opens itself, which some network drives refuse.
        file = h5py.File(h5py.h5f.open_file_image(data), "r")
    except Exception:  # its own text speaks of ids
        raise DataError(f"{path}: a MATLAB 7.3 file, cut off or damaged; fetch it again") from None
    with file:
        node = file
        for field in fields:
            if not isinstance(node, h5py.Group) or field not in node:
                return None
            if not isinstance(node.get(field, getlink=True), h5py.HardLink):
                raise DataError(f"{path}: {field} is a link to elsewhere; save it with -v7")
            node = node[field]
            if isinstance(node, h5py.Dataset) and h5py.check_dtype(ref=node.dtype):
                node = file[node[(0,) * node.ndim]]  # an array of structs, or a cell
        _check(path, ".".join(fields), node, max_bytes, h5py)
        return node[()].T


def _check(path, what, node, max_bytes, h5py):
    """Raise DataError unless `node` is numbers that lie in the file itself and are not too many."""
    if not isinstance(node, h5py.Dataset) or node.attrs.get("MATLAB_class") == b"char":
        raise DataError(f"{path}: {what} is no label map (no plain numbers)")
    if not node.shape or not node.size or node.attrs.get("MATLAB_empty"):
        raise DataError(f"{path}: {what} is no label map (it is empty, or a single number)")
    if node.external or node.is_virtual:
        raise DataError(f"{path}: {what} lies in other files; save it with -v7")
    if node.size * node.dtype.itemsize > max_bytes:
        raise DataError(f"{path}: larger than {max_bytes} bytes when unpacked")
    _check_chunks(path, node, h5py)


def _check_chunks(path, node, h5py):
    """Raise DataError where a chunk unpacks to more than its size: HDF5 would take the memory."""
    settings = node.id.get_create_plist()
    filters = [settings.get_filter(i)[0] for i in range(settings.get_nfilters())]
    plain = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
    grid = [-(-n // c) for n, c in zip(node.shape, node.chunks or node.shape)]
    unusual = not plain.issuperset(filters) or len(filters) > len(set(filters))
    # HDF5's library goes on without end where a chunk has other axes than its array.
    unusual = unusual or len(node.chunks or node.shape) != len(node.shape)
    if unusual or np.prod(grid, dtype=float) > MAX_CHUNKS:
        raise DataError(f"{path}: not compressed as MATLAB does it; save it with -v7")
    if h5py.h5z.FILTER_DEFLATE not in filters:
        return
    skipped = 1 << filters.index(h5py.h5z.FILTER_DEFLATE)  # where a chunk would not get smaller
    size = int(np.prod(node.chunks)) * node.dtype.itemsize
    most = node.file.id.get_filesize()
    for place in np.ndindex(*grid):
        try:
            corner = tuple(i * c for i, c in zip(place, node.chunks))
            stored = node.id.get_chunk_info_by_coord(corner)
            if stored.byte_offset is None:  # never written: holds the fill value
                continue
            if stored.size > most:
                raise DataError(f"{path}: a chunk is larger than the file; fetch it again")
            mask, packed = node.id.read_direct_chunk(corner)
        except (OSError, RuntimeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            continue
        stream = zlib.decompressobj()
        if not mask & skipped and len(stream.decompress(packed, size + 5)) > size + 4:
            # The 4 bytes are for a checksum.
            raise DataError(f"{path}: a chunk unpacks to more than its size; fetch it again")
