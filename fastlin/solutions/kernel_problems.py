"""The networks of a stack as records of kernels that integrate the flow or descend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastlin.kernels.codes import Start
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kernels.sizes import InputsRecord, UnreducedSizes
from fastlin.networks.stacks import Pairs
from fastlin.observables.registry import Observable
from fastlin.solutions.canonical_stack import CanonicalStack, Units, has_kernel, outputs_of
from fastlin.tasks.adapted import residual_task
from fastlin.weights.fit import narrow
from fastlin.weights.rates import Rates
from fastlin.weights.solve import raw_records


class Part(NamedTuple):
    """Networks of one size."""

    points: Integers  # (K,)
    sizes: UnreducedSizes
    records: Array  # (K, length)


class KernelProblems(NamedTuple):
    """Networks as kernels take them: starts of equal learning rates, on tasks whose least loss is 0."""

    parts: list[Part]
    start: Start
    units: Units
    outputs: tuple[int, ...]


def kernel_problems(
    stack: Pairs, rates: Rates, observables: Sequence[Observable], decays: bool
) -> KernelProblems | None:
    """Return the networks of a stack for kernels, or None if these do not have all observables.

    Inputs of several variances, and a part of W1 that does not learn the task, need records of their own.
    """
    if not observables or not all(has_kernel(entry, stack) for entry in observables):
        return None
    outputs = outputs_of(observables)
    if not any(residual_task(task).inputs == "general" for task in stack.tasks):
        canonical = CanonicalStack(stack, rates)
        if not canonical.freezes or not (decays or any(entry.off_span for entry in observables)):
            parts = [Part(group.points, *raw_records(*group.canonical[:3])) for group in canonical.groups]
            return KernelProblems(parts, Start.RAW, canonical.units, outputs)
    part, units = _on_inputs(stack, rates)
    return KernelProblems([part], Start.INPUTS, units, outputs)


def _on_inputs(stack: Pairs, rates: Rates) -> tuple[Part, Units]:
    """Return records in the eigenbases of Sigma_xx, of ``U1 = sqrt(e2) W1, U2 = sqrt(e1) W2``."""
    tasks = [residual_task(task) for task in stack.tasks]
    c, axes = np.linalg.eigh(np.stack([task.sigma_xx for task in tasks]))
    learns = c > c.shape[-1] * np.finfo(float).eps * c[:, -1:]
    target = rates.unit * np.stack([task.sigma_yx for task in tasks])
    sigma = np.where(learns[:, None, :], target @ axes, 0.0)
    totals = np.linalg.svd(target, compute_uv=False).sum(axis=-1)

    scale1, scale2 = np.sqrt(rates.second), np.sqrt(rates.first)
    w1, w2 = scale1 * stack.w1[stack.net_of], scale2 * stack.w2[stack.net_of]
    v = np.swapaxes(w1 @ axes[stack.task_of], -1, -2)
    q = narrow(np.concatenate([v, w2], axis=-2))
    n_o, n_i = target.shape[1:]
    sizes = UnreducedSizes(n_i, q.shape[-1], n_o)
    at = InputsRecord(sizes)
    records = np.zeros((stack.size, at.length))
    records[:, : at.c] = sigma[stack.task_of].reshape(stack.size, -1)
    records[:, at.c : at.floor] = np.where(learns, c, 0.0)[stack.task_of]
    records[:, at.total] = totals[stack.task_of]
    records[:, at.v :] = q.reshape(stack.size, -1)
    ones = np.ones(stack.size)
    units = Units(rates.unit, rates.unit * ones, scale1 * ones, scale2 * ones)
    return Part(np.arange(stack.size), sizes, records), units
