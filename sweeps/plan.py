"""What a sweep will take: its blocks, points, bytes, files and time, known before any work."""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels import Record
from fastlin.kernels.closed_form import Way, ways
from fastlin.kernels.points import VECTORS
from fastlin.kernels.problems import SETUP
from fastlin.kernels.sizes import WIDTH
from fastlin.kernels.workspace import DYNAMICS
from fastlin.observables import REGISTRY
from fastlin.sweeps.block import Block
from fastlin.sweeps.spec import Spec

# A block should hold enough that files are few and their overhead small (at 4 MB it takes as long as the
# kernels of phase-10m), and take seconds at most, so that little is lost and all cores have work.
BLOCK_BYTES = 16_000_000
BLOCK_SECONDS = 5.0
# Bytes that a block needs while it runs, per byte of its result: the kernel's array and the copy that
# is written, in float64 whatever the store's dtype.
WORKING_COPIES = 3


@dataclass(frozen=True)
class Plan:
    """A spec cut into blocks of `seeds_per_block` seeds."""

    spec: Spec
    seeds_per_block: int

    @classmethod
    def of(cls, spec: Spec) -> "Plan":
        """Cut a spec into blocks of 16 MB and of some seconds at most, as far as one seed allows."""
        by_bytes, by_time = BLOCK_BYTES / bytes_per_seed(spec), BLOCK_SECONDS / max(_costs(spec))
        seeds = max(1, min(int(by_bytes), int(by_time), spec.seeds.size))
        return cls(spec, seeds)

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of blocks along each dimension of the grid of points."""
        return tuple(
            math.ceil(size / chunk)
            for size, chunk in zip(self.spec.point_dims.values(), self.chunk, strict=True)
        )

    @property
    def chunk(self) -> tuple[int, ...]:
        """Points of a block along each dimension: one each, but for the seeds and all lam."""
        ones = (1,) * (len(self.spec.point_dims) - 2)
        return (*ones, self.seeds_per_block, self.spec.lams.size)

    @property
    def block_count(self) -> int:
        """Number of blocks."""
        return math.prod(self.grid)

    @property
    def bytes(self) -> int:
        """Size of the complete store: values and status, without metadata."""
        per_seed = bytes_per_seed(self.spec) + self.spec.lams.size
        return per_seed * self.spec.points // self.spec.lams.size

    @property
    def files(self) -> int:
        """Number of chunk files of the complete store."""
        return self.block_count * (len(self.spec.observables) + 1)

    @property
    def block_memory(self) -> int:
        """Bytes that one block needs while it runs: its results, and the problems they are made from."""
        per_seed = bytes_per_seed(self.spec) * 8 // np.dtype(self.spec.dtype).itemsize
        results = WORKING_COPIES * per_seed * self.seeds_per_block
        return results + max(self._problem_memory(shape) for shape in self.spec.architectures)

    def _problem_memory(self, shape: Architecture) -> int:
        """Bytes of the records of a block's problems, and of what sets them up and works on them."""
        draws = WIDTH * (shape.n_i * shape.n_o + shape.n_h * (shape.n_i + shape.n_o))
        records = Record(shape).length * self.seeds_per_block
        setup = SETUP.doubles(shape) if shape.fits_setup else 8 * shape.wide * (shape.m + shape.k_wide)
        lanes = VECTORS * DYNAMICS.doubles(shape)
        dynamics = lanes if shape.fits_lanes else 8 * shape.n * shape.width + shape.rows_o * shape.rows_i
        return 8 * (draws + records + setup + dynamics)

    def seconds(self, workers: int) -> float:
        """Estimated time on `workers` cores like the one that the costs below were measured on."""
        spec = self.spec
        rates = max(1, spec.learning_rates.size if spec.learning_rate_axis else 1)
        return sum(_costs(spec)) * spec.init_scales.size * rates * spec.seeds.size / workers

    def blocks(self) -> Iterator[Block]:
        """Yield every block, in the order of the store."""
        spec = self.spec
        names = list(spec.point_dims)
        for index in product(*(range(size) for size in self.grid)):
            at = dict(zip(names, index, strict=True))
            region = tuple(
                slice(i * step, min((i + 1) * step, size))
                for i, step, size in zip(index, self.chunk, spec.point_dims.values(), strict=True)
            )
            rates = spec.learning_rates
            yield Block(
                region=region,
                architecture=spec.architectures[at["architecture"]],
                init_scale=float(spec.init_scales[at["init_scale"]]),
                method=spec.methods[at.get("method", 0)],
                learning_rate=float(rates[at.get("learning_rate", 0)]) if rates.size else math.nan,
                seeds=spec.seeds[region[-2]],
                lams=spec.lams,
                times=spec.times,
                n_samples=spec.n_samples,
                target_scale=spec.target_scale,
                init_kind=spec.init_kind,
                observables=spec.observables,
                dtype=spec.dtype,
            )

    def check_resources(self, path: str, at_once: int, memory: int, done: int = 0) -> None:
        """Raise if the disk or the memory cannot hold what is still to be computed."""
        folder = Path(path).absolute()
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        needed = self.bytes * (self.block_count - done) // self.block_count
        if needed > free:
            raise InputError(
                f"the sweep needs {readable_size(needed)} more on the disk of {path}, which has "
                f"{readable_size(free)} free; choose another place, float32, fewer times or seeds"
            )
        if self.block_memory * at_once > memory:
            raise InputError(
                f"{at_once} blocks at a time need {readable_size(self.block_memory * at_once)} of memory and "
                f"{readable_size(memory)} are there; use fewer workers, times or lam"
            )


def bytes_per_seed(spec: Spec) -> int:
    """Bytes in the store for all lam and times of one seed, of one architecture and init_scale."""
    numbers = sum(len(REGISTRY[name].rows) for name in spec.observables)
    return spec.lams.size * spec.times.size * numbers * np.dtype(spec.dtype).itemsize


def _costs(spec: Spec) -> list[float]:
    """Estimated seconds of all lam of one seed, for each method and architecture."""
    return [seconds_per_seed(spec, method, shape) for method in spec.methods for shape in spec.architectures]


def seconds_per_seed(spec: Spec, method: str, shape: Architecture) -> float:
    """Estimate the time of all lam of one seed from the operations of the kernels.

    The nanoseconds are those of one core of an AVX-512 server at 4 GHz (`fastlin bench`), within a factor
    of two from 2 to 32 units a layer; elsewhere they tell the order of magnitude.
    """
    small = shape.n * shape.width**2  # what eliminations and Gram matrices take
    product = shape.rows_i * shape.rows_o * shape.width  # what the loss takes
    start = 10.0 + 0.2 * small
    setup = 400.0 + 2.0 * shape.m**2 * shape.wide + 10.0 * shape.n_h * (shape.n_i + shape.n_o)
    if method == "exact":
        way, _ = ways(spec.times)
        marched = int(np.count_nonzero(way == Way.MARCH))
        jump = 10.0 + 0.2 * small + 0.4 * shape.n * (shape.width + 2)
        observed = 2.0 + 0.08 * small + 0.016 * product
        each = start + (spec.times.size - marched) * jump + marched * observed
    else:
        steps = float(spec.times[-1] / spec.learning_rates[0])
        each = start + 0.035 * small * steps + (0.05 * small + 0.016 * product) * spec.times.size
    writing = 2.0 * bytes_per_seed(spec)
    return 1e-9 * (setup + spec.lams.size * each + writing)


def readable_size(count: float) -> str:
    """Return a number of bytes for people to read."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"
