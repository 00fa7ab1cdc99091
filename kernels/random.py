"""Random streams that are a function of values, never of position.

A stream is Philox4x64-10 keyed by (seed, kind, N_i, N_h, N_o): the key words are the values themselves,
so no two streams can meet, and extending an axis of a sweep changes no point that was there.
"""

from enum import IntEnum

import numpy as np

# Three sizes of 20 bits and a kind of 4 bits fill one 64-bit word of the key.
SIZE_BITS = 20
MAX_SIZE = 2**SIZE_BITS - 1
MAX_SEED = 2**63 - 1


class Stream(IntEnum):
    """What a stream is for."""

    TARGETS = 1
    INPUTS = 2
    INIT_GAUSSIAN = 3
    INIT_REGRESSION = 4
    ROTATION = 5


def generator(kind: Stream, seed: int, n_i: int, n_o: int, n_h: int = 0) -> np.random.Generator:
    """Return the stream of one `kind` for one seed and architecture, at its beginning.

    Streams that all N_h share (those of tasks) leave `n_h` at 0.
    """
    sizes = (int(n_h) << 2 * SIZE_BITS) | (int(n_i) << SIZE_BITS) | int(n_o)
    key = np.array([int(seed), (int(kind) << 3 * SIZE_BITS) | sizes], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
