"""The closed form of a stack of networks, in lanes where kernels have the observables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastlin.adapted_task import residual_task
from fastlin.balance import Balance, checked_balance
from fastlin.balances import read_balances
from fastlin.canonical import Canonical, Substitution
from fastlin.exact_conditions import check_time_scales, on_span, shrinkage
from fastlin.kernels import Output
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.observables import Observable
from fastlin.rates import Rates
from fastlin.solve import Starts, evolve, observe, saddles, time_scales
from fastlin.stack_values import Values, evaluate, of_start, parts
from fastlin.stacks import Pairs, located
from fastlin.trajectory import Trajectory


class _Group(NamedTuple):
    """Networks whose substitution has equal sizes, and which are followed in one way."""

    points: Integers  # (K,)
    canonical: Canonical  # (K, ...)
    scale1: Array  # (K,) factors of both layers
    scale2: Array


class ExactStack:
    """The networks of a stack in the plain flow.

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
        self._substitutions = []
        for number, task in enumerate(stack.tasks):
            with located(stack.at(int(np.argmax(stack.task_of == number)))):
                self._substitutions.append(Substitution.of(task, rates))
        variances = np.array([residual_task(task).variance for task in stack.tasks])[stack.task_of]
        self.unit = rates.unit * variances
        self._groups = list(self._grouped())
        self.lam, self.kappa = np.empty(stack.size), np.empty(stack.size)
        for group in self._groups:
            self._read_balances(group, rates.first * variances[group.points])
        self.shrinkage = self._checked_shrinkage(decay)

    def _grouped(self) -> Iterator[_Group]:
        """Yield the networks by the number of dimensions of their inputs, and by a part that is frozen."""
        stack = self._stack
        ranks = np.array([each.span.shape[1] for each in self._substitutions])[stack.task_of]
        for rank in np.unique(ranks):
            same = np.flatnonzero(ranks == rank)
            canonical = self._canonical(same)
            for completes in (False, True):
                chosen = np.flatnonzero(canonical.completes == completes)
                if chosen.size:
                    yield self._group(same[chosen])

    def _substitution(self, points: Integers) -> Substitution:
        """Return the substitutions of some networks, whose tasks have equal sizes."""
        needed, index = np.unique(self._stack.task_of[points], return_inverse=True)
        return Substitution.of_many([self._substitutions[number] for number in needed], index)

    def _canonical(self, points: Integers) -> Canonical:
        nets = self._stack.net_of[points]
        return self._substitution(points).apply(self._stack.w1[nets], self._stack.w2[nets])

    def _group(self, points: Integers) -> _Group:
        substitution = self._substitution(points)
        return _Group(points, self._canonical(points), substitution.scale1, substitution.scale2)

    def _read_balances(self, group: _Group, unit: Array) -> None:
        """Write the balances of a group: those of the networks where only units differ."""
        points, canonical = group.points, group.canonical
        nets = self._stack.net_of[points]
        lam, kappa = unit * self._stack.lam[nets], unit * self._stack.kappa[nets]
        if self._rates.first != self._rates.second or canonical.w1.shape[-1] < self._stack.w1.shape[-1]:
            lam, kappa, _ = read_balances(canonical.w1, canonical.w2)
        for place in np.flatnonzero(np.isnan(lam)):
            with located(self._stack.at(points[place])):
                checked_balance(canonical.w1[place], canonical.w2[place])
        self.lam[points], self.kappa[points] = lam, kappa

    def _checked_shrinkage(self, decay: tuple[float, float]) -> float:
        none = shrinkage(Balance(0.0, 0.0), self._rates, decay)
        if none > 0.0:
            for point in np.flatnonzero((self.lam != 0.0) | (self.kappa != 0.0)):
                with located(self._stack.at(int(point))):
                    shrinkage(Balance(self.lam[point], self.kappa[point]), self._rates, decay)
        return none

    def observables(self, names: Sequence[str] | None, wanted: list[Observable]) -> list[Observable]:
        """Return the wanted observables, without those that the closed form does not have."""
        frozen = any(
            (group.canonical.has_frozen_part & ~group.canonical.completes).any() for group in self._groups
        )
        return on_span(names, wanted) if frozen else wanted

    def values(self, observables: Sequence[Observable], times: Array, fraction: float) -> Values:
        """Return observables (P, T, ...), and those without time (P,)."""
        over_time = [entry for entry in observables if entry.over_time]
        by_kernel = [entry for entry in over_time if self._has_kernel(entry)] if self._in_lanes else []
        others = [entry for entry in over_time if entry not in by_kernel]
        return {
            **self._kernel_values(by_kernel, times),
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

    def _has_kernel(self, entry: Observable) -> bool:
        """Whether kernels compute an observable. The effective rank is that of the map with its offset."""
        whole = Output.EFFECTIVE_RANK not in entry.outputs
        return bool(entry.outputs) and (whole or not any(np.any(task.offset) for task in self._stack.tasks))

    @property
    def _in_lanes(self) -> bool:
        """Whether kernels compute the numbers of all networks from their starts."""
        return not (self.kappa > 0.0).any() and all(
            not group.canonical.has_frozen_part.any()
            and self._starts(
                Canonical(*(part[:1] for part in group.canonical)), group.points[:1]
            ).sizes.fits_lanes
            for group in self._groups
        )

    def _kernel_values(self, observables: list[Observable], times: Array) -> Values:
        if not observables:
            return {}
        outputs = tuple(sorted({int(output) for entry in observables for output in entry.outputs}))
        out = np.empty((self._stack.size, times.size, len(outputs)))
        floor = np.array([task.loss_floor for task in self._stack.tasks])[self._stack.task_of]
        for group in self._groups:
            numbers = observe(self._starts(group.canonical, group.points), outputs, times, self.shrinkage)
            # Numbers of U in those of W (see `canonical`).
            unit = self._rates.unit
            factors = {
                Output.LOSS: 1.0 / (unit * self.unit[group.points]),
                Output.NTK_NORM: np.full(group.points.size, 1.0 / unit),
                Output.W1_NORM: 1.0 / group.scale1,
                Output.W2_NORM: 1.0 / group.scale2,
            }
            for column, output in enumerate(outputs):
                if Output(output) in factors:
                    numbers[..., column] *= factors[Output(output)][:, None]
            out[group.points] = numbers
        if Output.LOSS in outputs:
            out[..., outputs.index(Output.LOSS)] += floor[:, None]
        values = {}
        for entry in observables:
            columns = out[..., [outputs.index(output) for output in entry.outputs]]
            values[entry.name] = columns.reshape(*out.shape[:2], *entry.stored_dims.values())
        return values

    def _trajectories(
        self, observables: list[Observable], times: Array
    ) -> Iterator[tuple[Integers, Trajectory]]:
        stack = self._stack
        arrays, n_h = stack.arrays, stack.w1.shape[-2]
        for group in self._groups:
            for two_sided in (False, True):
                same = np.flatnonzero((self.kappa[group.points] > 0.0) == two_sided)
                for part in parts(same, observables, stack, times.size) if same.size else ():
                    points = group.points[part]
                    canonical = Canonical(*(each[part] for each in group.canonical))
                    path = evolve(
                        self._starts(canonical, points),
                        self.kappa[points],
                        np.append(times, 0.0),
                        self.shrinkage,
                    )
                    qqt = canonical.qqt(path.qqt)
                    drift = np.zeros((points.size, times.size))
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
