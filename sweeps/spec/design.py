"""Designs of points: random and quasi-random samples of ranges (``scipy.stats.qmc``)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.kernels.random import MAX_SEED
from fastlin.sweeps.spec.faults import Faults
from fastlin.validation import check_choice, check_int, shown, suggest

SAMPLES = ("sobol", "halton", "latin", "random")
GROWING = ("sobol", "halton", "random")  # designs whose first points do not depend on their number
KEYS = ("sample", "num", "sample_seed")
MAX_POINTS = 10**8
WORDS = "a range [low, high], {log = [low, high]} or {choice = [...]}"

# Parts of log 2. The first has so few bits that its products with small whole numbers are exact.
LOG_2_HIGH, LOG_2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10

Numbers = NDArray[np.float64]


class Range(NamedTuple):
    """The values of one column of a design.

    Attributes
    ----------
    form : str
        "linear" or "log", between two ends; or "choice", each of the values equally often.
    values : tuple
        The two ends, both included, or the values to choose from.
    """

    form: str
    values: tuple[Any, ...]

    @property
    def constant(self) -> bool:
        """Whether all points have one value."""
        return self.form == "choice" and len(self.values) == 1

    def at(self, shares: Numbers) -> NDArray[Any]:
        """Return the values at shares in [0, 1) of the range. Those of whole ends are whole numbers."""
        if self.form == "choice":
            items: NDArray[Any] = np.array(self.values)[_indices(shares, len(self.values))]
            return items
        low, high = self.values
        whole = isinstance(low, int)
        if self.form == "log":
            drawn = low * exponentials(shares * math.log((high + whole) / low))
            return np.asarray(np.clip(drawn.astype(np.int64) if whole else drawn, low, high))
        if whole:
            return np.asarray(low + _indices(shares, high - low + 1))
        return np.asarray(np.minimum(low + shares * (high - low), high))

    def to_json(self) -> Any:
        """Return the form that `read_range` takes."""
        if self.constant:
            return self.values[0]
        return list(self.values) if self.form == "linear" else {self.form: list(self.values)}


def _indices(shares: Numbers, count: int) -> NDArray[np.int64]:
    """Return which of so many equal parts of [0, 1) shares lie in."""
    return np.minimum((shares * count).astype(np.int64), count - 1)


def exponentials(x: Numbers) -> Numbers:
    """Return exp(x), by sums and products alone, within 1e-15 of its value.

    NumPy's own function has other bits on other processors, and a design must be the same on all of them.
    """
    doublings = np.rint(x / math.log(2.0))
    rest = (x - doublings * LOG_2_HIGH) - doublings * LOG_2_LOW
    total = np.ones_like(rest)
    for power in range(18, 0, -1):
        total = 1.0 + rest * total / power
    return np.ldexp(total, doublings.astype(np.int64))


@dataclass(frozen=True)
class Design:
    """A sample of points in the product of some ranges.

    Attributes
    ----------
    sample : str
        "sobol" or "halton" (scrambled low-discrepancy sequences), "latin" (a Latin hypercube), or "random".
    num : int
        Number of points.
    sample_seed : int
        Seed of the scrambling or of the random numbers.
    ranges : tuple of (str, Range)
        The columns in order.
    """

    sample: str
    num: int
    sample_seed: int
    ranges: tuple[tuple[str, Range], ...]

    def draw(self) -> dict[str, NDArray[Any]]:
        """Return the columns, each (num,). Those of a design that grows begin with those of a smaller one."""
        return dict(_drawn(self))

    def with_constant(self, name: str, value: int, names: Sequence[str]) -> Design:
        """Return the design with one more column, of one value. `names` is the order of columns."""
        ranges = dict(self.ranges) | {name: Range("choice", (value,))}
        return replace(self, ranges=tuple((key, ranges[key]) for key in names if key in ranges))

    def grows_to(self, other: Design) -> bool:
        """Return whether another design begins with the points of this one."""
        same = replace(other, num=self.num) == self
        return same and (other.num == self.num or (other.num > self.num and self.sample in GROWING))

    def to_dict(self) -> dict[str, Any]:
        """Return the section of a spec, JSON-ready."""
        head = {"sample": self.sample, "num": self.num, "sample_seed": self.sample_seed}
        return head | {name: part.to_json() for name, part in self.ranges}


@lru_cache(maxsize=4)
def _drawn(design: Design) -> tuple[tuple[str, NDArray[Any]], ...]:
    varied = [name for name, part in design.ranges if not part.constant]
    shares = dict(zip(varied, _shares(design, len(varied)).T, strict=True))
    nothing = np.zeros(design.num)
    columns = [(name, part.at(shares.get(name, nothing))) for name, part in design.ranges]
    for _, values in columns:
        values.flags.writeable = False
    return tuple(columns)


def _shares(design: Design, count: int) -> Numbers:
    """Return the sample (num, count) in the unit cube."""
    from scipy.stats import qmc  # its import takes half a second

    rng = np.random.default_rng(design.sample_seed)
    if design.sample == "random":
        return rng.random((design.num, count))
    makers: dict[str, Callable[..., Any]] = {
        "sobol": qmc.Sobol,
        "halton": qmc.Halton,
        "latin": qmc.LatinHypercube,
    }
    with warnings.catch_warnings():
        # Any number is allowed. Numbers that are no power of 2 are a little less even.
        warnings.filterwarnings("ignore", message="The balance properties of Sobol'", category=UserWarning)
        sample: Numbers = makers[design.sample](count, seed=rng).random(design.num)
    return sample


def read_design(
    name: str, table: Mapping[str, Any], columns: Mapping[str, str], faults: Faults
) -> Design | None:
    """Return the design of a section, or None if there is a fault.

    Parameters
    ----------
    name : str
        The section, for messages.
    table : mapping
        ``sample``, ``num``, ``sample_seed``, and a range for each column.
    columns : mapping of str to str
        The types of all columns that there are: "integer", "real" or "text".
    faults : Faults
        Where faults are noted.
    """
    count = len(faults.lines)

    def attempt(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except InputError as error:
            faults.add_error(error)
            return None

    sample = attempt(lambda: check_choice(f"{name}.sample", table["sample"], SAMPLES))
    if "num" not in table:
        faults.add(f"{name}.num is missing; it is the number of points")
    num = attempt(lambda: check_int(f"{name}.num", table.get("num", 1), 1, MAX_POINTS))
    seed = attempt(lambda: check_int(f"{name}.sample_seed", table.get("sample_seed", 0), 0, MAX_SEED))
    ranges = []
    for key in columns:
        if key in table:
            read = partial(read_range, f"{name}.{key}", table[key], columns[key])
            ranges.append((key, attempt(read)))
    for key in table:
        if key not in columns and key not in KEYS:
            faults.add(f"[{name}] has the unknown key {key!r}; {suggest(key, [*KEYS, *columns])}")
    if all(part and part.constant for _, part in ranges):
        faults.add(f"[{name}] has no column with a range; needed is {WORDS}, as in lam = [-9, 9]")
    return None if len(faults.lines) > count else Design(sample, num, seed, tuple(ranges))


def read_range(name: str, value: Any, kind: str) -> Range:
    """Read the range of one column: a constant, two ends, or a table with "log" or "choice".

    Raises
    ------
    InputError
        If it is none of these, or its ends are in the wrong order.
    """
    if isinstance(value, Mapping):
        if set(value) not in ({"log"}, {"choice"}):
            raise InputError(f"{name} is {shown(value)}; needed is {WORDS}")
        form, items = next(iter(value.items()))
    elif isinstance(value, list) and kind != "text":
        form, items = "linear", value
    else:
        form, items = "choice", value if isinstance(value, list) else [value]
    if not isinstance(items, list) or not items:
        raise InputError(f"{name} is {shown(value)}; needed is {WORDS}")
    if kind == "text":
        if form != "choice":
            raise InputError(f"{name} is {shown(value)}; names have no range, needed is a list of names")
        return Range(form, tuple(items))
    numbers = tuple(_number(f"{name}[{at}]", item, kind) for at, item in enumerate(items))
    if form == "choice":
        return Range(form, numbers)
    if len(numbers) != 2 or numbers[0] >= numbers[1]:
        raise InputError(
            f"{name} is {shown(value)}; a range is [low, high] with low < high, and values to choose from "
            "are {choice = [...]}"
        )
    if form == "log" and numbers[0] <= 0:
        raise InputError(f"{name}.log begins at {numbers[0]:g}; a logarithmic range needs it above 0")
    return Range(form, numbers)


def _number(name: str, value: Any, kind: str) -> int | float:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind == "integer" and not whole:
        raise InputError(f"{name} is {shown(value)}; a whole number is needed")
    if not whole and not (isinstance(value, float) and np.isfinite(value)):
        raise InputError(f"{name} is {shown(value)}; a number is needed")
    if kind == "integer" and abs(value) > MAX_SEED:
        raise InputError(f"{name} is {value}; allowed is up to {MAX_SEED}")
    return int(value) if kind == "integer" else float(value)
