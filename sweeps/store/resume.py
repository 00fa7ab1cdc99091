"""The rule of resume: which points are still to be computed, by their status.

`status` is the commit marker of a block and is written after all its values. So a point that is not pending
has its values in the store, and a block without pending points is complete.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Status

Codes = NDArray[np.uint8]
BAD = (Status.DIVERGED, Status.FAILED, Status.TOO_STIFF)


def is_bad(status: Codes) -> NDArray[np.bool_]:
    """Return a mask of the points that diverged, failed or are too stiff."""
    return np.isin(status, BAD)


def is_missing(status: Codes, retry: bool = False) -> NDArray[np.bool_]:
    """Return a mask of the points that are still to be computed, by their status.

    They are the pending points, and with `retry` also those that diverged, failed or are too stiff. Points
    that are absent are done.
    """
    pending: NDArray[np.bool_] = status == Status.PENDING
    return pending | is_bad(status) if retry else pending
