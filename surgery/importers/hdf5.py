"""Opening an HDF5 file, with errors in one line."""

from surgery.errors import SurgeryError


def is_hdf5(path) -> bool:
    """Whether a file's first bytes are those of HDF5."""
    with open(path, "rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def open_hdf5(path):
    """The file, open for reading (use it in a `with`)."""
    try:
        import h5py
    except ImportError:
        raise SurgeryError(
            f"{path}: reading HDF5 needs the package h5py: pip install h5py"
        ) from None
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise SurgeryError(f"{path}: not a readable HDF5 file ({error})") from None
