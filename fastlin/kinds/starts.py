"""Networks that are drawn: balanced starts, and raw weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike

from fastlin.architecture import Architecture
from fastlin.dimensions import Axis, leading
from fastlin.errors import InputError
from fastlin.kernels import Factors, Problem, factorise
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kernels.draws import StartLaw, WeightLaw, WeightStart, strength
from fastlin.kernels.random import MAX_SEED, Stream, generator
from fastlin.kernels.starts import start_of
from fastlin.kinds.initialisation import INIT_KINDS, RAW_KINDS, product_kinds
from fastlin.networks.network import Network
from fastlin.networks.stacks import Networks
from fastlin.tasks.task import MAX_SAMPLES, Task, check_scale
from fastlin.validation import check_choice, check_float, check_instance, check_int
from fastlin.weights.balance import Balance, check_kappa, check_width
from fastlin.weights.rates import EQUAL_RATES, Rates


@overload
def balanced_init(
    architecture: Architecture,
    lam: float,
    init_scale: float = ...,
    seed: int = ...,
    kind: str = ...,
    *,
    kappa: float = ...,
    learning_rates: tuple[float, float] = ...,
    n_samples: int | None = ...,
    task: Task | None = ...,
    weights: tuple[ArrayLike, ArrayLike] | None = ...,
) -> Network: ...


@overload
def balanced_init(
    architecture: Architecture,
    lam: float | Sequence[float] | Array,
    init_scale: float | Sequence[float] | Array = ...,
    seed: int | Sequence[int] | Integers = ...,
    kind: str = ...,
    *,
    kappa: float | Sequence[float] | Array = ...,
    learning_rates: tuple[float, float] = ...,
    n_samples: int | None = ...,
    task: Task | None = ...,
    weights: tuple[ArrayLike, ArrayLike] | None = ...,
) -> Any: ...


def balanced_init(
    architecture: Architecture,
    lam: float | Sequence[float] | Array,
    init_scale: float | Sequence[float] | Array = 1.0,
    seed: int | Sequence[int] | Integers = 0,
    kind: str = "gaussian",
    *,
    kappa: float | Sequence[float] | Array = 0.0,
    learning_rates: tuple[float, float] = (1.0, 1.0),
    n_samples: int | None = None,
    task: Task | None = None,
    weights: tuple[ArrayLike, ArrayLike] | None = None,
) -> Any:
    """Draw balanced weights (Algorithm 1 of the paper, corrected and extended to kappa > 0).

    The SVD ``U diag(p) V^T`` of an unbalanced product W2 W1 is split as ``W1 = R S1 V^T``,
    ``W2 = U S2 R^T`` with ``s1 s2 = p``, ``s2^2 - s1^2 = lam`` and R a random rotation. The loop runs to
    N_h: past min(N_i, N_o), where p = 0, the wider layer carries sqrt(abs(lam)). With kappa > 0 each
    singular direction takes a second hidden direction, so that ``Q (D - lam I) Q^T = -kappa^2 J``.

    Parameters
    ----------
    architecture : Architecture
        Sizes of the network; any are allowed.
    lam : float
        Relative scale of the layers, any finite number.
    init_scale : float
        Scale of the weights before balancing, > 0.
    seed : int
        The draws are a function of (seed, N_i, N_h, N_o, kind) alone.
    kind : str
        The unbalanced product: that of raw weights of a standard law ("gaussian", of standard deviation
        init_scale, or "lecun", "he", "xavier", "ntk", "torch", "zero_output"); "random_regression", the
        Sigma_yx of an independent random regression task of `n_samples` samples and target_scale init_scale
        (B.4); or "aligned", the singular vectors of `task`, each mode with strength init_scale^2 (Saxe et al.
        2014).
    kappa : float
        Width of the balance, 0 or from 1e-60 to 1e60, in the unit of squared weights. kappa > 0 needs N_h >=
        N_i + N_o. Wide networks with Gaussian weights of variances s1^2 and s2^2 tend to ``lam = (s2^2 -
        s1^2) N_h``, ``kappa = s1 s2 N_h``.
    learning_rates : (float, float)
        Learning rates (eta1, eta2) of the layers. The balance is that of ``sqrt(eta2) W1`` and ``sqrt(eta1)
        W2``, which follow the flow of equal rates, so `exact` needs the same rates.
    n_samples : int, optional
        For "random_regression".
    task : Task, optional
        For "aligned". If its inputs are dependent, W1 is 0 off their span, and the balance and the product
        are those on the span.
    weights : (w1, w2), optional
        Raw weights in place of drawn weights. They are multiplied by init_scale.

    Returns
    -------
    Network, or Networks
        A stack where lam, init_scale, kappa or seed is a list, a range or an array. Its dimensions are those
        of them that are, in the order ("init_scale", "kappa", "seed", "lam"). The `balance` of a network is
        "two-sided" for kappa > 0. For kappa = 0 it is "strict" where ``W2^T W2 - W1 W1^T =
        lam I`` is feasible (lam = 0, or lam > 0 and N_h <= N_o, or lam < 0 and N_h <= N_i), and "support"
        otherwise.

    Raises
    ------
    InputError
        If a number is out of range, an argument that the kind needs is missing, or N_h is too small.

    Notes
    -----
    To solve given `weights` as they are, use `flow`. This function keeps their product W2 W1 and drops all
    else, with kappa = 0 also the width. That turns a lazy wide network into a rich one: the kernel distance
    of 4-16-4 Xavier is 0.0021, and 0.147 after it. With the lam and kappa of `Network.fit`, the nearest exact
    solution of a wide network, it is 0.0022.

    Examples
    --------
    >>> net = fl.balanced_init(fl.Architecture(4, 2, 4), lam=-1.0, seed=0)
    >>> net
    <bottleneck Network 4-2-4 (N_i-N_h-N_o), lam -1, balance 'strict'>
    >>> bool(np.allclose(net.w2.T @ net.w2 - net.w1 @ net.w1.T, -np.eye(2)))
    True
    >>> fl.balanced_init(fl.Architecture(4, 2, 4), lam=[-1.0, 0.0, 1.0], seed=range(100))
    <Networks 4-2-4 (seed: 100, lam: 3)>
    """
    check_instance("architecture", architecture, Architecture, "Architecture(n_i, n_h, n_o)")
    rates = Rates.read("learning_rates", learning_rates)
    axes = Axes(
        Axis.read("init_scale", init_scale, check_scale),
        Axis.read("kappa", kappa, check_kappa),
        Axis.read("seed", seed, _check_seed),
        Axis.read("lam", lam, check_float),
    )
    samples = None if n_samples is None else check_int("n_samples", n_samples, 1, MAX_SAMPLES)
    start = INIT_KINDS[check_choice("kind", kind, product_kinds())].law(samples)
    span = _span(architecture, task)
    reached = Architecture(span.shape[1], architecture.n_h, architecture.n_o)
    for value in axes.kappa.values:
        check_width(reached.n_i, reached.n_h, reached.n_o, value)
    given = None if weights is None else _factors_of(weights, architecture, kind, span)
    factors = [given or _drawn_factors(start, reached, each, task) for each in axes.seed.values]
    if not any(axis.is_dimension for axis in axes):
        (scale,), (width,), (number,), (value,) = (axis.values for axis in axes)
        drawn = factors[0]._replace(p=rates.unit * strength(start, scale) * factors[0].p)
        return _on_span(_balanced(reached, Balance(value, width), number, drawn, rates), span)
    strengths = [rates.unit * strength(start, scale) for scale in axes.init_scale.values]
    return _stacked(axes, _weights(reached, axes, factors, strengths, rates), span, rates)


class Axes(NamedTuple):
    """The parameters of balanced starts that may be dimensions, in their order."""

    init_scale: Axis
    kappa: Axis
    seed: Axis
    lam: Axis


def _check_seed(name: str, value: Any) -> int:
    return check_int(name, value, 0, MAX_SEED)


def _weights(
    architecture: Architecture, axes: Axes, factors: list[Factors], strengths: list[float], rates: Rates
) -> tuple[Array, Array]:
    """Return the weights (A, B, S, L, rows, columns) of all init_scales, kappas, seeds and lams.

    There are factors (S) of each seed, at strength 1.
    """
    n_i, lam = architecture.n_i, np.array(axes.lam.values)
    u, p, v = (np.stack(parts)[:, None] for parts in zip(*factors, strict=True))
    frames = np.stack([_frame(architecture, each) for each in axes.seed.values])[:, None]
    first, second = [], []
    for factor, kappa in product(strengths, axes.kappa.values):
        q = start_of(Factors(u, factor * p, v), lam[:, None], kappa)
        frame = frames[..., : q.shape[-1]]
        first.append(frame @ np.swapaxes(q[..., :n_i, :], -1, -2))
        second.append(q[..., n_i:, :] @ np.swapaxes(frame, -1, -2))
    grid = tuple(len(axis.values) for axis in axes)
    w1, w2 = (np.stack(each).reshape(*grid, *each[0].shape[-2:]) for each in (first, second))
    if rates == EQUAL_RATES:
        return w1, w2
    return w1 / math.sqrt(rates.second), w2 / math.sqrt(rates.first)


def _stacked(axes: Axes, weights: tuple[Array, Array], span: Array, rates: Rates) -> Networks:
    """Return the stack of weights (A, B, S, L, rows, columns), of the dimensions that were asked for.

    The span (..., N_i, r) broadcasts with these.
    """
    dims, coords = leading(axes)
    shape = tuple(len(axis.values) for axis in axes if axis.is_dimension)
    w1, w2 = (each.reshape(*shape, *each.shape[-2:]) for each in weights)
    if span.shape[-1] < span.shape[-2]:
        return Networks(w1 @ np.swapaxes(span, -1, -2), w2, dims=dims, coords=coords)
    if rates != EQUAL_RATES:
        return Networks(w1, w2, dims=dims, coords=coords)
    numbers = np.meshgrid(*(np.array(axis.values, dtype=np.float64) for axis in axes), indexing="ij")
    lam, kappa = numbers[3].reshape(shape), numbers[1].reshape(shape)
    return Networks(w1, w2, lam, kappa, dims=dims, coords=coords)


def draw_network(
    architecture: Architecture,
    lam: float,
    seed: int,
    problem: Problem,
    task: Task,
    kappa: float = 0.0,
    rates: Rates = EQUAL_RATES,
) -> Network:
    """Return the balanced network that a seed has under the laws of a problem, of checked inputs.

    If inputs are dependent, W1 is 0 off their span, as in `balanced_init`.
    """
    reached = Architecture(task.span.shape[1], architecture.n_h, architecture.n_o)
    factors = _drawn_factors(problem.start, reached, seed, task)
    factors = factors._replace(p=rates.unit * problem.strength * factors.p)
    return _on_span(_balanced(reached, Balance(lam, kappa), seed, factors, rates), task.span)


def draw_networks(
    architecture: Architecture,
    lams: Array,
    seeds: Integers,
    problem: Problem,
    tasks: Sequence[Task],
    kappa: float = 0.0,
    rates: Rates = EQUAL_RATES,
) -> Networks:
    """Return the balanced networks (seed, lam) that seeds have under the laws of a problem.

    Each seed has its task, whose inputs span the same number of dimensions. Inputs are checked.
    """
    axes = Axes(
        Axis("init_scale", [problem.init_scale], False),
        Axis("kappa", [kappa], False),
        Axis("seed", seeds.tolist(), True),
        Axis("lam", lams.tolist(), True),
    )
    each = zip(axes.seed.values, tasks, strict=True)
    spans = np.stack([task.span for task in tasks])[:, None]
    reached = Architecture(spans.shape[-1], architecture.n_h, architecture.n_o)
    factors = [_drawn_factors(problem.start, reached, seed, task) for seed, task in each]
    weights = _weights(reached, axes, factors, [rates.unit * problem.strength], rates)
    return _stacked(axes, weights, spans, rates)


def balanced_starts(
    architecture: Architecture, lams: Array, seed: int, problem: Problem, task: Task, kappa: float
) -> Array:
    """Return Q (L, N, H or less) of the networks of `draw_network` at some lam, in another hidden basis."""
    u, p, v = _drawn_factors(problem.start, architecture, seed, task)
    return start_of(Factors(u, problem.strength * p, v), lams[:, None], kappa)


def _span(architecture: Architecture, task: Task | None) -> Array:
    """Return a basis (N_i, r) of the inputs that learn: all of them without a task."""
    if task is None:
        return np.eye(architecture.n_i)
    check_instance("task", task, Task, "random_regression or Task(x, y)")
    if (task.n_i, task.n_o) != (architecture.n_i, architecture.n_o):
        raise InputError(f"the task maps {task.n_i} to {task.n_o}, the network is {architecture}")
    return task.span


def _on_span(net: Network, span: Array) -> Network:
    """Return a network of N_i inputs that is 0 off a span of them."""
    if span.shape[1] == len(span):
        return net
    return Network(net.w1 @ span.T, net.w2)


@overload
def random_init(
    architecture: Architecture, kind: str = ..., init_scale: float = ..., seed: int = ...
) -> Network: ...


@overload
def random_init(
    architecture: Architecture,
    kind: str = ...,
    init_scale: float | Sequence[float] | Array = ...,
    seed: int | Sequence[int] | Integers = ...,
) -> Any: ...


def random_init(
    architecture: Architecture,
    kind: str = "lecun",
    init_scale: float | Sequence[float] | Array = 1.0,
    seed: int | Sequence[int] | Integers = 0,
) -> Any:
    """Draw raw weights of a standard law, without any balance.

    Parameters
    ----------
    architecture : Architecture
        Sizes of the network.
    kind : str
        "lecun", normal of variance 1 / fan_in; "he", 2 / fan_in; "xavier", 2 / (fan_in + fan_out); "ntk",
        1 / N_h in both layers; "torch", uniform in +-1 / sqrt(fan_in), the default of PyTorch;
        "zero_output", that for W1, and W2 = 0; "gaussian", standard normal.
    init_scale : float
        Factor of both layers, > 0.
    seed : int
        The draws are a function of (seed, N_i, N_h, N_o, kind) alone.

    Returns
    -------
    Network, or Networks
        A stack with the dimensions "init_scale" and "seed", or one of them, where these are lists, ranges or
        arrays. The balance of a network is "none", apart from special cases, so that `flow` solves it.
        `Network.fit` tells how far it is from an exact solution.

    Raises
    ------
    InputError
        If a number is out of range, or the kind has no weights.

    Examples
    --------
    >>> fl.random_init(fl.Architecture(4, 16, 4), "xavier").balance
    'none'
    >>> fl.random_init(fl.Architecture(4, 16, 4), "xavier", init_scale=[0.1, 1.0], seed=range(10))
    <Networks 4-16-4 (init_scale: 2, seed: 10)>
    """
    check_instance("architecture", architecture, Architecture, "Architecture(n_i, n_h, n_o)")
    law = WeightStart(check_choice("kind", kind, RAW_KINDS))
    axes = Axis.read("init_scale", init_scale, check_scale), Axis.read("seed", seed, _check_seed)
    if not any(axis.is_dimension for axis in axes):
        return draw_raw_network(architecture, axes[1].values[0], law, axes[0].values[0])
    dims, coords = leading(axes)
    shape = tuple(len(axis.values) for axis in axes if axis.is_dimension)
    drawn = zip(*(law.weights(each, architecture.sizes) for each in axes[1].values), strict=True)
    scales = np.array(axes[0].values)[:, None, None, None]
    w1, w2 = (scales * np.stack(each) for each in drawn)
    w1, w2 = (each.reshape(*shape, *each.shape[-2:]) for each in (w1, w2))
    return Networks(w1, w2, dims=dims, coords=coords)


def draw_raw_network(architecture: Architecture, seed: int, law: WeightLaw, init_scale: float) -> Network:
    """Return the raw weights that a seed has under a law, of checked inputs."""
    w1, w2 = law.weights(seed, architecture.sizes)
    return Network(init_scale * w1, init_scale * w2)


def _balanced(
    architecture: Architecture, balance: Balance, seed: int, factors: Factors, rates: Rates
) -> Network:
    """Return weights of a balance at some learning rates, with the product that the factors are of."""
    q = start_of(factors, balance.lam, balance.kappa)
    frame, n_i = _frame(architecture, seed)[:, : q.shape[1]], architecture.n_i
    w1, w2 = frame @ q[:n_i].T, q[n_i:] @ frame.T
    if rates == EQUAL_RATES:
        return Network(w1, w2, *balance)
    return Network(w1 / math.sqrt(rates.second), w2 / math.sqrt(rates.first))


def _factors_of(
    weights: tuple[ArrayLike, ArrayLike], architecture: Architecture, kind: str, span: Array
) -> Factors:
    """Return the factors of the product of given weights on a span of the inputs."""
    if kind != "gaussian":
        raise InputError(f'weights are given, and kind is {kind!r}; they take the place of "gaussian" ones')
    try:
        first, second = weights
    except (TypeError, ValueError):
        raise InputError("weights are not a pair (w1, w2)") from None
    raw = Network(first, second)
    if raw.architecture != architecture:
        raise InputError(f"the weights are those of {raw.architecture}, not of {architecture}")
    return factorise(raw.w2 @ (raw.w1 @ span), architecture.n_h)


def _drawn_factors(law: StartLaw, architecture: Architecture, seed: int, task: Task | None) -> Factors:
    """Return the factors of the product that a law draws, or of the task where it has none."""
    product = law.product(seed, architecture.sizes)
    if product is not None:
        if task is not None and product.shape[1] > architecture.n_i:  # given weights, on all inputs
            product = product @ task.span
        return factorise(product, architecture.n_h)
    if task is None:
        raise InputError('kind "aligned" needs the task to align with: task=...')
    return factorise(task.sigma_yx @ task.span, architecture.n_h)._replace(p=np.ones(architecture.sizes.k))


def _frame(architecture: Architecture, seed: int) -> Array:
    """Return random orthonormal columns (N_h, min(N_h, N)), uniform by the signs of the diagonal of R."""
    n_h = architecture.n_h
    stream = generator(Stream.ROTATION, seed, architecture.sizes)
    q, r = np.linalg.qr(stream.standard_normal((n_h, min(n_h, architecture.n_i + architecture.n_o))))
    return np.asarray(q * np.where(np.diagonal(r) < 0, -1.0, 1.0))
