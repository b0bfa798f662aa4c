"""Reading numpy files that a user names; whatever is wrong with them is one message."""

import zipfile
from typing import TYPE_CHECKING

from vnn_mondeq.errors import InputError

if TYPE_CHECKING:
    import numpy as np


def load_array(path: str) -> "np.ndarray":
    """The array of an `.npy` file. **Raises** `InputError`."""
    import numpy as np

    array = _load(path)
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: is an archive of several arrays; give an .npy file of one")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path}: holds {array.dtype}, not real numbers")
    if not np.all(np.isfinite(array)):
        raise InputError(f"{path}: holds entries that are not finite numbers")
    return array


def load_arrays(path: str) -> "dict[str, np.ndarray]":
    """The arrays of an `.npz` file by name. **Raises** `InputError`."""
    import numpy as np

    archive = _load(path)
    if isinstance(archive, np.ndarray):
        raise InputError(f"{path}: is one array; give an .npz archive of named arrays")
    try:
        with archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path}: is not a sound .npz file: {error}") from error


def _load(path: str):
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path}: is not a numpy file: {error}") from error
