"""Gradient descent of one network: full batch or minibatches, with rates and decay of each layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from fastlin.errors import InputError
from fastlin.kernels import stochastic_descent, weight_descent
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kernels.random import MAX_SEED
from fastlin.kernels.stochastic_descent import Noise
from fastlin.kernels.tolerances import BLOW_UP
from fastlin.networks.network import Network
from fastlin.networks.stacks import Networks, Pairs, Tasks, is_stack, pairs
from fastlin.observables.trajectory import Trajectory
from fastlin.solutions import stack_values
from fastlin.solutions.descent_stack import DescentStack
from fastlin.solutions.dynamics import (
    check_memory,
    check_sizes,
    dataset,
    refuse_time_scales,
    select_over_time,
    trajectory,
)
from fastlin.solvers import GRADIENT_DESCENT
from fastlin.tasks.adapted import residual_task
from fastlin.tasks.task import MAX_SCALE, Task
from fastlin.validation import check_float, check_int, check_pair, shown
from fastlin.weights.balance import reduced_width
from fastlin.weights.curvature import curvature
from fastlin.weights.rates import Rates, one_or_two

MAX_STEPS = 2**53  # beyond it, learning_rate * step is no longer exact in the step


class Descent(NamedTuple):
    """Checked settings of a run."""

    rates: Rates
    decay: tuple[float, float]  # (g1, g2)
    noise: Noise | None  # None for the gradient of all samples

    @property
    def attributes(self) -> dict[str, Any]:
        """Settings for a Dataset; decay and noise only where they are used."""
        values: dict[str, Any] = {"solver": GRADIENT_DESCENT.name, "learning_rate": one_or_two(self.rates)}
        if any(self.decay):
            values["decay"] = one_or_two(self.decay)
        if self.noise is not None:
            values |= {"batch_size": self.noise.batch_size, "label_noise": self.noise.label_noise}
            values["noise_seed"] = self.noise.seed
        return values


def gradient_descent(
    task: Task | Tasks | Sequence[Task],
    net: Network | Networks | Sequence[Network],
    learning_rate: float | tuple[float, float],
    steps: int,
    every: int = 1,
    observables: Sequence[str] | None = None,
    *,
    decay: float | tuple[float, float] = 0.0,
    batch_size: int | None = None,
    label_noise: float = 0.0,
    noise_seed: int = 0,
) -> xr.Dataset:
    """Run gradient descent on one network or on a stack.

    ``W1 += eta1 (W2^T E - g1 W1)``, ``W2 += eta2 (E W1^T - g2 W2)`` from the old weights, with
    ``E = Sigma_yx - W2 W1 Sigma_xx`` of all samples, or of a batch.

    Parameters
    ----------
    task : Task, Tasks, or sequence of Task
        Inputs need not be whitened.
    net : Network, Networks, or sequence of Network
        Weights need not be balanced. A width beyond N_i + N_o costs nothing, because it is reduced exactly.
    learning_rate : float or pair of float
        eta > 0 of both layers, or (eta1, eta2). If the task has rates of its own (see `lora`), one number
        that multiplies them.
    steps : int
        Number of steps >= 1.
    every : int
        Record after each `every` steps, from 1 to `steps`; the start is recorded too.
    observables : sequence of str, optional
        As for `exact`. The loss is that of all samples, without noise on the targets.
    decay : float or pair of float
        Weight decay g >= 0 of both layers, or (g1, g2). The rate of the layer multiplies it.
    batch_size : int, optional
        Number of samples B of a step, from 1 to P. An epoch is ceil(P / B) steps and takes each sample once,
        in a random order of its own; its last batch has the samples that are left. By default a step takes
        all samples.
    label_noise : float
        Standard deviation >= 0 of independent normal noise on each target of each step's batch.
    noise_seed : int
        The order of samples and the noise are a function of (noise_seed, N_i, N_o, P, B) and the step.

    Returns
    -------
    xarray.Dataset
        With the schema of `exact` and time = learning_rate * step, so that ``gd - exact(task, net, gd.time)``
        is the difference. For a pair of rates time = sqrt(eta1 eta2) * step. Kernel distance and NTK are then
        those of the kernel that drives the network function, ``e2 I x X^T W1^T W1 X + e1 W2 W2^T x X^T X``
        with e = eta / sqrt(eta1 eta2), and the balance is ``D = e1 W2^T W2 - e2 W1 W1^T``, which the gradient
        flow conserves. The attributes of these variables say so. Stacks are broadcast as by `exact`. Eight
        networks run at a time where kernels compute the observables (see `flow`), without noise. All networks
        of a stack take their noise from one noise_seed.

    Raises
    ------
    InputError
        If a number is out of range, sizes do not fit, or the run diverges: the message says at which
        time, and which learning rates are stable near the start. Batches and noise on targets need the
        samples of the task.

    Examples
    --------
    >>> arch = fl.Architecture(4, 2, 4)
    >>> task, net = fl.random_regression(arch, n_samples=10), fl.balanced_init(arch, lam=-1.0)
    >>> gd = fl.gradient_descent(task, net, learning_rate=0.01, steps=500, every=100)
    >>> gd.time.values.tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    >>> bool(abs(gd - fl.exact(task, net, gd.time)).kernel_distance.max() < 0.01)
    True
    >>> sgd = fl.gradient_descent(task, net, 0.01, 500, 500, ["loss"], batch_size=2, noise_seed=7)
    >>> sgd.attrs["batch_size"], bool(sgd.loss[-1] < sgd.loss[0])
    (2, True)
    >>> nets = fl.balanced_init(arch, lam=[-1.0, 1.0], seed=range(20))
    >>> fl.gradient_descent(task, nets, 0.01, 500, 100, ["loss"]).loss.shape
    (20, 2, 6)
    """
    count = check_int("steps", steps, 1, MAX_STEPS)
    grid = range(0, count + 1, check_int("every", every, 1, count))
    noise = partial(_check_noise, batch_size=batch_size, label_noise=label_noise, noise_seed=noise_seed)
    if is_stack(task, net):
        return _of_stack(pairs(task, net), learning_rate, decay, noise, grid, observables)
    task, net = check_sizes(task, net)
    rates, step = _rates(task, learning_rate)
    wanted = select_over_time(observables, task)
    descent = Descent(rates, check_pair("decay", decay), noise(task))
    check_memory(wanted, len(grid), task)
    recorded = np.arange(grid.start, grid.stop, grid.step)
    times = np.asarray(recorded * step, dtype=np.float64)
    paths = _checked_weights(task, net, descent, recorded, times)
    path = trajectory(*paths, task, net.architecture.n_h, rates)
    evaluated = dataset(path, times, wanted, net, descent.attributes)
    return _with_time(evaluated, task, rates)


def _of_stack(
    stack: Pairs,
    learning_rate: Any,
    decay: Any,
    noise_of: Callable[[Task], Noise | None],
    grid: range,
    names: Sequence[str] | None,
) -> xr.Dataset:
    """Return the Dataset of a stack of networks."""
    rates = stack_values.shared_rates(stack, lambda task: _rates(task, learning_rate)[0])
    decays, noise = check_pair("decay", decay), noise_of(stack.tasks[0])
    wanted = refuse_time_scales(stack_values.selected(names, stack))
    check_memory(wanted, len(grid), stack.arrays, stack.size)
    recorded = np.arange(grid.start, grid.stop, grid.step)
    times = np.asarray(recorded * _rates(stack.tasks[0], learning_rate)[1], dtype=np.float64)

    def run(task: Task, net: Network) -> tuple[Array, Array]:
        return _checked_weights(task, net, Descent(rates, decays, noise_of(task)), recorded, times)

    values = DescentStack(stack, rates, decays, noise is not None, run).values(wanted, recorded)
    attributes = Descent(rates, decays, noise).attributes
    evaluated = stack_values.dataset(stack, values, times, wanted, rates.relative, attributes)
    return _with_time(evaluated, stack.tasks[0], rates)


def _with_time(evaluated: xr.Dataset, task: Task, rates: Rates) -> xr.Dataset:
    """Return a Dataset whose time says what it is at different rates of the layers."""
    if rates[0] != rates[1] and task.learning_rates is None:
        evaluated.time.attrs["long_name"] = "time t / tau = sqrt(eta1 eta2) * step"
    return evaluated


def _checked_weights(
    task: Task, net: Network, descent: Descent, recorded: Integers, times: Array
) -> tuple[Array, Array]:
    """Return the weights after the recorded steps of a run that converges."""
    learned = residual_task(task)
    paths = _weights(learned, net, descent, recorded)
    _check_convergence(*paths, times, learned, descent)
    return paths


def _rates(task: Task, learning_rate: Any) -> tuple[Rates, float]:
    """Return the rates of the layers, and the time of a step."""
    own = task.learning_rates
    if own is None:
        rates = Rates.read("learning_rate", learning_rate)
        return rates, rates.unit
    if isinstance(learning_rate, tuple | list | np.ndarray):
        raise InputError(
            f"learning_rate is {shown(learning_rate)}, and the task has the rates {own} of its layers; "
            "needed is one number, which multiplies them"
        )
    step = check_float("learning_rate", learning_rate, 0.0, above=True)
    return Rates(step * own[0], step * own[1]), step


def _check_noise(task: Task, batch_size: Any, label_noise: Any, noise_seed: Any) -> Noise | None:
    """Return checked settings of the noise, or None if there is none."""
    deviation = check_float("label_noise", label_noise, 0.0, MAX_SCALE)
    seed = check_int("noise_seed", noise_seed, 0, MAX_SEED)
    if batch_size is None and deviation == 0.0:
        return None
    samples = task.n_samples
    size = samples if batch_size is None else check_int("batch_size", batch_size, 1, samples)
    return Noise(size, deviation, seed)


def _weights(task: Task, net: Network, descent: Descent, recorded: Integers) -> tuple[Array, Array]:
    """Return W1 (T, width, N_i) and W2 (T, N_o, width) after the recorded steps, of reduced width."""
    w1, w2 = (weights.copy() for weights in reduced_width(net.w1, net.w2))
    rates, decay, noise = descent
    paths = np.empty((recorded.size, *w1.shape)), np.empty((recorded.size, *w2.shape))
    if noise is not None:
        stochastic_descent.descend(w1, w2, task.X, task.Y, rates, decay, noise, recorded, *paths)
    else:
        sigma_yx = np.ascontiguousarray(task.sigma_yx)
        sigma_xx = None if task.whitened else task.sigma_xx
        weight_descent.descend(w1, w2, sigma_yx, sigma_xx, rates, decay, recorded, *paths)
    return paths


def follow(task: Task, net: Network, descent: Descent, recorded: Integers) -> tuple[Trajectory, Array]:
    """Return the trajectory of a run at recorded steps, which begin with 0, and where it has blown up."""
    with np.errstate(over="ignore", invalid="ignore"):
        learned = residual_task(task)
        paths = _weights(learned, net, descent, recorded)
        path = trajectory(*paths, task, net.architecture.n_h, descent.rates)
        return path, _blown_up(*paths, learned, descent)


def _blown_up(path1: Array, path2: Array, task: Task, descent: Descent) -> Array:
    """Return a mask (T,) of the records at which the weights have blown up."""
    e1, e2 = descent.rates.relative
    with np.errstate(over="ignore", invalid="ignore"):
        size = e2 * np.sum(path1**2, axis=(-2, -1)) + e1 * np.sum(path2**2, axis=(-2, -1))
    bound = BLOW_UP * (size[0] + np.linalg.svd(task.sigma_yx, compute_uv=False).sum())
    return np.asarray(~(size <= bound))


def _check_convergence(path1: Array, path2: Array, times: Array, task: Task, descent: Descent) -> None:
    """Raise where the weights have blown up, with the learning rates that the start would bear."""
    e1, e2 = descent.rates.relative
    wild = _blown_up(path1, path2, task, descent)
    if wild.any():
        when = times[np.argmax(wild)]
        stable = 2.0 * descent.rates.unit / curvature(path1[0], path2[0], task, descent.rates, descent.decay)
        rates, borne = _shown(descent.rates, 6), _shown((stable * e1, stable * e2), 2)
        raise InputError(
            f"gradient descent diverged before t = {when:g}: learning_rate {rates} is too large; "
            f"the curvature at the start bears about {borne} at most{_limit(task, descent.noise)}"
        )


def _limit(task: Task, noise: Noise | None) -> str:
    if noise is None or noise.batch_size == task.n_samples:
        return ""
    return f", less with {noise.batch_size} of {task.n_samples} samples a step"


def _shown(pair: tuple[float, float], digits: int) -> str:
    first, second = (f"{number:.{digits}g}" for number in pair)
    return first if first == second else f"({first}, {second})"
