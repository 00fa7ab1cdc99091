"""Points (seed, lam) on lanes: seeds outermost, all lam of a seed in a row, the last vector filled up."""

from fastlin.kernels.jit import Array, Codes, Integers, jit
from fastlin.kernels.sizes import WIDTH

# Vectors that are worked on in turn, so that one computes while the other waits for a root or a division.
VECTORS = 2
LANES = VECTORS * WIDTH


def padded(count: int, lanes: int = LANES) -> int:
    """Return a number of points rounded up to what is worked on at once, for which outputs need room."""
    return -(-count // lanes) * lanes


@jit
def place(first: int, lam: Array, last_seed: int, seeds: Integers, points: Integers, lams: Array) -> None:
    """Write seed, point and lam of the lanes of the vectors that start at point `first`."""
    seed, column = first // lam.size, first % lam.size
    for lane in range(seeds.size):
        if seed > last_seed:  # nobody reads these lanes
            seed, column = last_seed, 0
        seeds[lane], points[lane], lams[lane] = seed, first + lane, lam[column]
        column += 1
        if column == lam.size:
            seed, column = seed + 1, 0


@jit
def store_status(first: int, health: Array, status: Codes) -> None:
    """Write the codes of the lanes of some vectors."""
    for lane in range(health.size):
        status[first + lane] = int(health[lane])
