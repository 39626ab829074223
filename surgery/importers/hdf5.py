"""Opening an HDF5 file, with errors in one line."""

from surgery.errors import SurgeryError


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
