"""What a sweep will take: its blocks, points, bytes, files and time, known before any work."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass

import numpy as np

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels import Record
from fastlin.kernels.blas.workspace import doubles as doubles_of_one
from fastlin.kernels.closed_form import Way, ways
from fastlin.kernels.points import VECTORS
from fastlin.kernels.problems import SETUP
from fastlin.kernels.sizes import WIDTH
from fastlin.kernels.workspace import DYNAMICS
from fastlin.observables import REGISTRY
from fastlin.sweeps.folding import BATCH_BYTES
from fastlin.sweeps.layout import Cut, Form, Layout
from fastlin.sweeps.places import Place
from fastlin.sweeps.spec import Spec

# A block should hold enough that files are few and their overhead small (at 4 MB it takes as long as the
# kernels of phase-10m), and take seconds at most, so that little is lost and all cores have work.
BLOCK_BYTES = 16_000_000
BLOCK_SECONDS = 5.0
# Bytes that a block needs while it runs, per byte of its result: the kernel's array and the copy that
# is written, in float64 whatever the store's dtype.
WORKING_COPIES = 3
SEARCH = 15.0  # times at which the loss is evaluated to find when it has converged
FOLD_SECONDS = 8e-9  # a value that is folded takes so much longer


@dataclass(frozen=True)
class Plan:
    """What a sweep takes that is laid out in blocks."""

    layout: Layout

    @classmethod
    def of(cls, spec: Spec) -> Plan:
        """Cut a spec into blocks of 16 MB and of some seconds at most, as far as one seed allows."""
        by_time = BLOCK_SECONDS / max(_costs(spec))
        by_bytes = math.inf if spec.reduce else BLOCK_BYTES / bytes_per_seed(spec)
        seeds = max(1, int(min(by_bytes, by_time, spec.seeds.size)))
        return cls(Layout((spec,), Cut(seeds, spec.lams.size, spec.times.size)))

    @property
    def spec(self) -> Spec:
        """The spec of the sweep."""
        return self.layout.spec

    @property
    def block_seconds(self) -> float:
        """Estimated time of the longest block."""
        return max(_costs(self.spec)) * self.layout.cut.seeds

    @property
    def bytes(self) -> int:
        """Size of the complete store: chunks, which are stored whole, without metadata."""
        return sum(_stored(form) for form in self._forms)

    @property
    def files(self) -> int:
        """Number of chunk files of the complete store."""
        return sum(math.prod(_chunks(form)) for form in self._forms)

    @property
    def _forms(self) -> list[Form]:
        layout = self.layout
        return [layout.status, *layout.values.values(), *layout.statistics.values()]

    @property
    def block_memory(self) -> int:
        """Bytes that one block needs while it runs: its results, and the problems they are made from."""
        layout, per_seed = self.layout, bytes_per_seed(self.spec) * 8 // np.dtype(self.spec.dtype).itemsize
        results = WORKING_COPIES * per_seed * layout.cut.seeds
        seeds = layout.cut.seeds
        if self.spec.reduce:
            cells = sum(8 * math.prod(form.chunk) for form in layout.values.values())
            seeds = max(1, min(BATCH_BYTES // per_seed, seeds))
            results = WORKING_COPIES * (cells + per_seed * seeds)
        return results + max(self._problem_memory(shape, seeds) for shape in self.spec.architectures)

    def _problem_memory(self, shape: Architecture, seeds: int) -> int:
        """Bytes of the records of the problems of some seeds, and of what sets them up and works on them."""
        draws = WIDTH * (shape.n_i * shape.n_o + shape.n_h * (shape.n_i + shape.n_o))
        records = Record(shape).length * seeds
        setup = SETUP.doubles(shape) if shape.fits_setup else 8 * shape.wide * (shape.m + shape.k_wide)
        lanes = VECTORS * DYNAMICS.doubles(shape)
        fits = shape.fits_lanes, shape.fits_lanes_to_descend
        dynamics = max(lanes if any(fits) else 0, 0 if all(fits) else doubles_of_one(shape))
        return 8 * (draws + records + setup + dynamics)

    def check_resources(self, place: Place, at_once: int | None, memory: int, done: int = 0) -> None:
        """Raise if the disk or the memory of this machine cannot hold what is still to be computed."""
        folder = place.folder
        if folder is not None:
            while not folder.exists():
                folder = folder.parent
            free = shutil.disk_usage(folder).free
            count = self.layout.block_count
            needed = self.bytes * (count - done) // count
            if needed > free:
                raise InputError(
                    f"the sweep needs {readable_size(needed)} more on the disk of {place.text}, which has "
                    f"{readable_size(free)} free; choose another place, float32, fewer times or seeds"
                )
        if at_once is not None and self.block_memory * at_once > memory:
            raise InputError(
                f"{at_once} blocks at a time need {readable_size(self.block_memory * at_once)} of memory and "
                f"{readable_size(memory)} are there; use fewer workers, times or lam"
            )


def _chunks(form: Form) -> tuple[int, ...]:
    return tuple(math.ceil(size / step) for size, step in zip(form.shape, form.chunk, strict=True))


def _stored(form: Form) -> int:
    return math.prod(_chunks(form)) * (math.prod(form.chunk) * np.dtype(form.dtype).itemsize + 4)


def bytes_per_seed(spec: Spec) -> int:
    """Bytes in the store for all lam and times of one seed, of one architecture and init_scale."""
    entries = [REGISTRY[name] for name in spec.observables]
    numbers = sum(1 if entry.scale is not None else spec.times.size * len(entry.rows) for entry in entries)
    return spec.lams.size * numbers * np.dtype(spec.dtype).itemsize


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
    jump = 10.0 + 0.2 * small + 0.4 * shape.n * (shape.width + 2)
    if method == "exact":
        way, _ = ways(spec.times)
        marched = int(np.count_nonzero(way == Way.MARCH))
        observed = 2.0 + 0.08 * small + 0.016 * product
        each = start + (spec.times.size - marched) * jump + marched * observed
    else:
        steps = float(spec.times[-1] / spec.learning_rates[0])
        each = start + 0.035 * small * steps + (0.05 * small + 0.016 * product) * spec.times.size
    if "convergence_time" in spec.observables:
        each += SEARCH * (jump + 0.016 * product)
    values = bytes_per_seed(spec)
    writing = 1e9 * FOLD_SECONDS * values / 8 if spec.reduce else 2.0 * values
    return 1e-9 * (setup + spec.lams.size * each + writing)


def readable_size(count: float) -> str:
    """Return a number of bytes for people to read."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"
