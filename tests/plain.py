"""What plain TileDB-Py gives of a database, by docs/database.md alone."""

import numpy as np


def joined(found: np.ndarray) -> np.ndarray:
    """Cells stored as two halves, the low one first, as float32 of a signal or uint16 of counts; others as they are."""
    return found.view({4: "<f4", 2: "<u2"}[found.dtype.itemsize]) if found.dtype.names else found
