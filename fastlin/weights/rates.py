"""Learning rates of both layers."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from fastlin.errors import InputError
from fastlin.tasks.task import MAX_SCALE, Task
from fastlin.validation import check_pair


def one_or_two(pair: tuple[float, float]) -> float | list[float]:
    """Return a number of both layers as one if they are equal, else as a list."""
    return pair[0] if pair[0] == pair[1] else list(pair)


class Rates(NamedTuple):
    """Learning rates of W1 and W2."""

    first: float
    second: float

    @classmethod
    def read(cls, name: str, value: Any) -> Rates:
        """Return rates, checked: one number for both, or a pair.

        Raises
        ------
        InputError
            If they are no numbers above 0, or their ratio is beyond 1e60.
        """
        rates = cls(*check_pair(name, value, above=True))
        if not 1.0 / MAX_SCALE <= rates.second / rates.first <= MAX_SCALE:
            allowed = f"from {1.0 / MAX_SCALE:g} to {MAX_SCALE:g}"
            raise InputError(f"{name} is {tuple(rates)}; the ratio of both must be {allowed}")
        return rates

    @classmethod
    def of_flow(cls, task: Task, value: Any) -> Rates:
        """Return the rates of a flow: those given, else those of the task, else equal ones.

        Raises
        ------
        InputError
            If they are out of range, or the task has others.
        """
        own = task.learning_rates
        if value is None:
            return cls(*(own or EQUAL_RATES))
        rates = cls.read("learning_rates", value)
        if own is not None and rates != own:
            raise InputError(f"learning_rates is {tuple(rates)}, and the task has {own}; leave it out")
        return rates

    @classmethod
    def of_ratio(cls, ratio: float) -> Rates:
        """Return rates with ``second / first = ratio`` and ``first * second = 1``."""
        root = math.sqrt(ratio)
        return cls(1.0 / root, root)

    @property
    def unit(self) -> float:
        """Geometric mean, which is exact if they are equal."""
        return self.first * math.sqrt(self.second / self.first)

    @property
    def relative(self) -> tuple[float, float]:
        """Both in units of their geometric mean."""
        return self.first / self.unit, self.second / self.unit


EQUAL_RATES = Rates(1.0, 1.0)
