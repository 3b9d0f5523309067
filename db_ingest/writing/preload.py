"""Importing this module loads what a worker needs, so that its first task does not wait: modules and compiled loops.

It opens no array: a process that has loaded it can still be forked.
"""

import numpy as np

from db_ingest.formats import bigwig  # noqa: F401
from db_ingest.layout import (
    arrays,  # noqa: F401
    summaries,
)
from db_ingest.writing import tasks  # noqa: F401

_nothing = np.zeros(1, np.float32)
summaries.to_counts(_nothing, np.zeros(1, np.uint16))
