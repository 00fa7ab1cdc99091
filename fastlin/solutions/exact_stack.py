"""The closed form of a stack of networks, in lanes where kernels have the observables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.networks.balances import read_balances
from fastlin.networks.stacks import Pairs, located
from fastlin.observables.registry import Observable
from fastlin.observables.trajectory import Trajectory
from fastlin.solutions.canonical_stack import CanonicalStack, Group, floors, outputs_of
from fastlin.solutions.exact_conditions import check_time_scales, on_span, shrinkage
from fastlin.solutions.stack_values import Values, evaluate, of_start, parts
from fastlin.weights.balance import Balance, checked_balance
from fastlin.weights.canonical import Canonical
from fastlin.weights.rates import Rates
from fastlin.weights.solve import Starts, evolve, observe, saddles, time_scales


class ExactStack:
    """The closed form of the networks of a stack.

    Attributes
    ----------
    lam, kappa : ndarray, (P,)
        Balances of the plain flow.
    shrinkage : float
        The rate at which decay shrinks both layers.
    unit : ndarray, (P,)
        Factor of lam and kappa against those of the weights, with rates in units of their geometric mean.

    Raises
    ------
    InputError
        If the closed form does not hold for an element of the stack, which the message names.
    """

    def __init__(self, stack: Pairs, rates: Rates, decay: tuple[float, float]) -> None:
        self._stack, self._rates = stack, rates
        self._canonical = CanonicalStack(stack, rates)
        self._groups, self.unit = self._canonical.groups, self._canonical.unit
        self.lam, self.kappa = np.empty(stack.size), np.empty(stack.size)
        for group in self._groups:
            self._read_balances(group)
        self.shrinkage = self._checked_shrinkage(decay)

    def _read_balances(self, group: Group) -> None:
        """Write the balances of a group: those of the networks where only units differ."""
        points, canonical = group.points, group.canonical
        unit, nets = self._rates.first * self._canonical.variances[points], self._stack.net_of[points]
        lam, kappa = unit * self._stack.lam[nets], unit * self._stack.kappa[nets]
        if self._rates.first != self._rates.second or canonical.w1.shape[-1] < self._stack.w1.shape[-1]:
            lam, kappa, _ = read_balances(canonical.w1, canonical.w2)
        for place in np.flatnonzero(np.isnan(lam)):
            with located(self._stack.at(points[place])):
                checked_balance(canonical.w1[place], canonical.w2[place])
        self.lam[points], self.kappa[points] = lam, kappa

    def _checked_shrinkage(self, decay: tuple[float, float]) -> float:
        rate = shrinkage(Balance(0.0, 0.0), self._rates, decay)
        if rate > 0.0:
            for point in np.flatnonzero((self.lam != 0.0) | (self.kappa != 0.0)):
                with located(self._stack.at(int(point))):
                    shrinkage(Balance(self.lam[point], self.kappa[point]), self._rates, decay)
        return rate

    def observables(self, names: Sequence[str] | None, wanted: list[Observable]) -> list[Observable]:
        """Return the wanted observables, without those that the closed form does not have."""
        missing = any((each.has_frozen_part & ~each.completes).any() for _, each, *_ in self._groups)
        return on_span(names, wanted) if missing else wanted

    def values(self, observables: Sequence[Observable], times: Array, fraction: float) -> Values:
        """Return observables (P, T, ...), and those without time (P,)."""
        over_time = [entry for entry in observables if entry.over_time]
        by_kernel = self._canonical.by_kernel(over_time) if self._in_lanes else []
        others = [entry for entry in over_time if entry not in by_kernel]
        return {
            **(self._kernel_values(by_kernel, times) if by_kernel else {}),
            **(evaluate(others, self._trajectories(others, times), self._stack.size) if others else {}),
            **self._time_scales(observables, fraction),
            **of_start(observables, self._stack, self._rates.relative),
        }

    def saddles(self) -> Any:
        """Return whether each flow (P,) ends at a saddle."""
        result = np.zeros(self._stack.size, dtype=bool)
        for group in self._groups:
            result[group.points] = saddles(self._starts(group.canonical, group.points))
        return result & (self.kappa == 0.0)

    def _starts(self, canonical: Canonical, points: Integers) -> Starts:
        return Starts.of(canonical.sigma_yx, canonical.w1, canonical.w2, self.lam[points])

    @property
    def _in_lanes(self) -> bool:
        """Whether kernels take the starts of all networks."""
        if (self.kappa > 0.0).any():
            return False
        ones = [(Canonical(*(part[:1] for part in each)), points[:1]) for points, each, *_ in self._groups]
        return all(self._starts(*one).sizes.fits_lanes for one in ones)

    def _kernel_values(self, observables: list[Observable], times: Array) -> Values:
        outputs = outputs_of(observables)
        out = np.empty((self._stack.size, times.size, len(outputs)))
        for group in self._groups:
            starts = self._starts(group.canonical, group.points)
            out[group.points] = observe(starts, outputs, times, self.shrinkage)
        return self._canonical.units.values(observables, outputs, out, floors(self._stack))

    def _trajectories(
        self, observables: list[Observable], times: Array
    ) -> Iterator[tuple[Integers, Trajectory]]:
        """Yield trajectories of some networks at a time. Those with kappa > 0 are followed in another way."""
        stack, moments = self._stack, np.append(times, 0.0)
        arrays, n_h = stack.arrays, stack.w1.shape[-2]
        for group in self._groups:
            for two_sided in (False, True):
                same = np.flatnonzero((self.kappa[group.points] > 0.0) == two_sided)
                for part in parts(same, observables, stack, times.size):
                    points, canonical = (
                        group.points[part],
                        Canonical(*(each[part] for each in group.canonical)),
                    )
                    path = evolve(
                        self._starts(canonical, points), self.kappa[points], moments, self.shrinkage
                    )
                    qqt, drift = canonical.qqt(path.qqt), np.zeros((points.size, times.size))
                    tasks, rates = arrays.take(points), self._rates.relative
                    yield points, Trajectory(qqt[:, :-1], qqt[:, -1], n_h, tasks, drift, rates)

    def _time_scales(self, observables: Sequence[Observable], fraction: float) -> Values:
        entries = [entry for entry in observables if entry.scale is not None]
        scales = [entry.scale for entry in entries if entry.scale is not None]
        values = np.empty((len(entries), self._stack.size))
        for group in self._groups if entries else ():
            sigma, w1, w2, *_ = group.canonical
            for place, point in enumerate(group.points):
                balance = Balance(float(self.lam[point]), float(self.kappa[point]))
                with located(self._stack.at(point)):
                    check_time_scales(entries, balance, self.shrinkage)
                values[:, point] = time_scales(sigma[place], w1[place], w2[place], balance, fraction, scales)
        return {entry.name: row for entry, row in zip(entries, values, strict=True)}
