"""The interface of kernels. It chooses by the sizes between vectors of eight networks and BLAS.

Every function checks the lengths of the arrays that compiled code writes to.
"""

from collections.abc import Callable, Iterable

import numpy as np

from fastlin.kernels.batch import Batch, FlowControl, padded
from fastlin.kernels.blas import dynamics as blas_dynamics
from fastlin.kernels.blas import flow as blas_flow
from fastlin.kernels.blas import inputs as blas_inputs
from fastlin.kernels.blas import inputs_problems, two_sided_dynamics
from fastlin.kernels.blas import problems as blas_problems
from fastlin.kernels.blas import time_scales as blas_time_scales
from fastlin.kernels.codes import Scale, Start
from fastlin.kernels.compiler.jit import Array, Call, Integers
from fastlin.kernels.compiler.values import WIDTH
from fastlin.kernels.draws import Factors, Problem, WeightLaw
from fastlin.kernels.sizes import Sizes, UnreducedSizes
from fastlin.kernels.vector import closed_form as vector_closed_form
from fastlin.kernels.vector import flow as vector_flow
from fastlin.kernels.vector import gradient_descent as vector_gradient_descent
from fastlin.kernels.vector import observed_path, problems, raw_problems, two_sided_closed_form
from fastlin.kernels.vector import time_scales as vector_time_scales
from fastlin.kernels.vector.closed_form import Paths, empty_paths


def prepare_closed_form(
    sizes: Sizes,
    outputs: tuple[int, ...],
    batch: Batch,
    *,
    kappa: float | Array = 0.0,
    specialise: bool = False,
) -> Call:
    """Return the call that evaluates the exact solution for a batch.

    Parameters
    ----------
    sizes : Sizes
    outputs : tuple of int
        Codes of `Output`, in the order in which the batch holds them.
    batch : Batch
        ``times`` in any order, inf allowed. ``outputs`` and ``status`` are written.
    kappa : float or ndarray, (P,)
        kappa >= 0 of two-sided balance. kappa > 0 needs N_h >= N_i + N_o. A paired batch may have one for
        each point, all 0 or all above.
    specialise : bool
        Use a kernel that is compiled for these sizes alone. The bits are the same.
    """
    _check_lengths(batch)
    if _two_sided(kappa):
        _check_rank(sizes)
        if sizes.two_sided.fits_lanes:
            return two_sided_closed_form.prepare(sizes, outputs, batch, kappa, specialise)
        return two_sided_dynamics.prepare_closed_form(sizes, outputs, batch, kappa)
    if sizes.fits_lanes:
        return vector_closed_form.prepare(sizes, outputs, batch, specialise)
    return blas_dynamics.prepare_closed_form(sizes, outputs, batch)


def prepare_gradient_descent(
    sizes: Sizes,
    outputs: tuple[int, ...],
    batch: Batch,
    learning_rate: float,
    *,
    start: Start = Start.BALANCED,
    kappa: float | Array = 0.0,
    decay: tuple[float, float] = (0.0, 0.0),
    specialise: bool = False,
) -> Call:
    """Return the call that runs gradient descent for a batch.

    ``W1 += eta (W2^T E - d1 W1)``, ``W2 += eta (E W1^T - d2 W2)``, both from the old weights. Outputs are NaN
    from the first recorded step at which a run has diverged.

    Parameters
    ----------
    sizes : Sizes
    outputs : tuple of int
        Codes of `Output`, in the order in which the batch holds them.
    batch : Batch
        ``times`` are the steps (int64, ascending) at which a run is recorded. ``outputs`` and ``status`` are
        written.
    learning_rate : float
    start : Start
        The kind of start that the records hold. Records of raw starts are those of ``sizes.unreduced``.
        `Start.INPUTS` is for tasks with inputs that are not whitened (see `draw_inputs_records`).
    kappa : float or ndarray, (P,)
        kappa > 0 of two-sided starts, which need N_h >= N_i + N_o. A paired batch may have one for each
        point. Other starts ignore it.
    decay : tuple of float
        Weight decay (d1, d2) of W1 and of W2.
    specialise : bool
        Use a kernel that is compiled for these sizes alone. The bits are the same.
    """
    _check_lengths(batch)
    sizes, rate = _sizes_of(sizes, start), float(learning_rate)
    rates = (float(decay[0]), float(decay[1]))
    if sizes.descends_in_lanes(start):
        return vector_gradient_descent.prepare(
            sizes, outputs, batch, rate, specialise, start=start, kappa=kappa, decay=rates
        )
    if start == Start.INPUTS:
        return blas_inputs.prepare_gradient_descent(sizes, outputs, batch, rate, rates)
    return blas_dynamics.prepare_gradient_descent(
        sizes, outputs, batch, rate, start=start, kappa=kappa, decay=rates
    )


def prepare_flow(
    sizes: Sizes,
    outputs: tuple[int, ...],
    batch: Batch,
    control: FlowControl,
    *,
    start: Start = Start.BALANCED,
    kappa: float | Array = 0.0,
    decay: tuple[float, float] = (0.0, 0.0),
    specialise: bool = False,
) -> Call:
    """Return the call that integrates the flow for a batch. Its last argument is the array of steps.

    ``W1' = W2^T E - d1 W1``, ``W2' = E W1^T - d2 W2``. Arguments are those of `prepare_gradient_descent`, but
    ``batch.times`` ascend and are finite, and `control` holds the tolerance and the largest number of steps.
    Outputs are NaN from the first time that a point does not reach within these steps. Its status is then
    TOO_STIFF.
    """
    _check_lengths(batch)
    sizes, rates = _sizes_of(sizes, start), (float(decay[0]), float(decay[1]))
    control = FlowControl(float(control.tolerance), int(control.max_steps))
    if sizes.descends_in_lanes(start):
        return vector_flow.prepare(sizes, outputs, batch, control, start, kappa, rates, specialise)
    if start == Start.INPUTS:
        return blas_inputs.prepare_flow(sizes, outputs, batch, control, rates)
    return blas_flow.prepare(sizes, outputs, batch, control, start, kappa, rates)


def prepare_time_scales(
    sizes: Sizes,
    scales: tuple[int, ...],
    batch: Batch,
    fraction: float,
    *,
    kappa: float | Array = 0.0,
    specialise: bool = False,
) -> Call:
    """Return the call that finds time scales of the exact flow for a batch.

    Arguments are those of `prepare_closed_form`, but `scales` are codes of `Scale` and ``batch.outputs`` is
    (R, padded(P), 1). `fraction` in (0, 1) is the share of the fall of the loss that counts as convergence.
    With kappa > 0 CONVERGENCE is the only scale, because there is no saddle to escape from and no direction
    is dropped.
    """
    _check_lengths(batch)
    if _two_sided(kappa):
        _check_rank(sizes)
        _check_scales(scales)
        return two_sided_dynamics.prepare_convergence(sizes, batch, kappa, float(fraction))
    if sizes.fits_lanes:
        return vector_time_scales.prepare(sizes, scales, batch, float(fraction), specialise)
    return blas_time_scales.prepare(sizes, scales, batch, float(fraction))


def closed_form(
    sizes: Sizes,
    outputs: tuple[int, ...],
    batch: Batch,
    *,
    kappa: float | Array = 0.0,
    specialise: bool = False,
) -> None:
    """Evaluate the exact solution for a batch (see `prepare_closed_form`)."""
    prepare_closed_form(sizes, outputs, batch, kappa=kappa, specialise=specialise)()


def gradient_descent(
    sizes: Sizes,
    outputs: tuple[int, ...],
    batch: Batch,
    learning_rate: float,
    *,
    start: Start = Start.BALANCED,
    kappa: float | Array = 0.0,
    decay: tuple[float, float] = (0.0, 0.0),
    specialise: bool = False,
) -> None:
    """Run gradient descent for a batch (see `prepare_gradient_descent`)."""
    prepare_gradient_descent(
        sizes, outputs, batch, learning_rate, start=start, kappa=kappa, decay=decay, specialise=specialise
    )()


def flow(
    sizes: Sizes,
    outputs: tuple[int, ...],
    batch: Batch,
    control: FlowControl,
    *,
    start: Start = Start.BALANCED,
    kappa: float | Array = 0.0,
    decay: tuple[float, float] = (0.0, 0.0),
    specialise: bool = False,
) -> Integers:
    """Integrate the flow for a batch (see `prepare_flow`). Return the accepted steps (P,) of all points."""
    call = prepare_flow(
        sizes, outputs, batch, control, start=start, kappa=kappa, decay=decay, specialise=specialise
    )
    call()
    steps: Integers = call.arguments[-1]
    return steps


def time_scales(
    sizes: Sizes,
    scales: tuple[int, ...],
    batch: Batch,
    fraction: float,
    *,
    kappa: float | Array = 0.0,
    specialise: bool = False,
) -> None:
    """Find time scales of the exact flow for a batch (see `prepare_time_scales`)."""
    prepare_time_scales(sizes, scales, batch, fraction, kappa=kappa, specialise=specialise)()


def network_time_scales(
    sizes: UnreducedSizes,
    lam: float,
    s: Array,
    q0: Array,
    fraction: float,
    scales: Integers,
    *,
    kappa: float = 0.0,
) -> list[float]:
    """Return time scales of one network: q0 (n, width) in the SVD basis of its target, s (m,).

    With kappa > 0 the width is n, and CONVERGENCE is the only scale.
    """
    if kappa > 0.0:
        _check_rank(sizes)
        _check_scales(scales)
        return [two_sided_dynamics.convergence_of(sizes, lam, kappa, s, q0, fraction)]
    found = blas_time_scales.scales_of(sizes, np.array([lam]), s[None], q0[None], fraction, scales)
    return [float(scale) for scale in found[0]]


def draw_records(
    sizes: Sizes,
    seeds: Integers,
    problem: Problem,
    *,
    init_scales: Array | None = None,
    specialise: bool = False,
) -> Array:
    """Return the records (S, length) of the problems of `seeds` under one architecture.

    The bits do not depend on a seed's neighbours.

    Parameters
    ----------
    sizes : Sizes
    seeds : ndarray of int, (S,)
    problem : Problem
    init_scales : ndarray, (S,), optional
        init_scale of each record, in place of the problem's. A pair (seed, init_scale) that repeats the one
        before it is not drawn again.
    specialise : bool
        Use a kernel that is compiled for these sizes alone. The bits are the same.
    """

    def draw(seeds: Integers, problem: Problem, init_scales: Array) -> Array:
        if sizes.fits_setup and problem.in_lanes:
            return problems.draw_records(sizes, seeds, problem, init_scales, specialise)
        return blas_problems.draw_records(sizes, seeds, problem, init_scales)

    return _draw_pairs(draw, seeds, problem, init_scales)


def draw_raw_records(
    sizes: Sizes,
    seeds: Integers,
    problem: Problem,
    *,
    init_scales: Array | None = None,
    specialise: bool = False,
) -> Array:
    """Return the records (S, length) of raw starts: `Record` of ``sizes.unreduced``.

    The weights are those of the problem's `WeightLaw` times init_scale, in the SVD basis of the task.
    Parameters are those of `draw_records`. The bits do not depend on a seed's neighbours.

    Raises
    ------
    TypeError
        If the law of the start has no weights.
    """
    if not isinstance(problem.start, WeightLaw):
        raise TypeError(f"{problem.start} is not a law of weights, so that it has no raw starts")

    def draw(seeds: Integers, problem: Problem, init_scales: Array) -> Array:
        if sizes.fits_raw_setup and problem.in_lanes:
            return raw_problems.draw_records(sizes, seeds, problem, init_scales, specialise)
        return blas_problems.draw_raw_records(sizes, seeds, problem, init_scales)

    return _draw_pairs(draw, seeds, problem, init_scales)


def draw_inputs_records(
    sizes: Sizes,
    seeds: Integers,
    problem: Problem,
    *,
    init_scales: Array | None = None,
    lams: Array | None = None,
    kappa: float | Array = 0.0,
) -> Array:
    """Return the records (S, length) of starts on tasks with inputs that are not whitened.

    They are `InputsRecord` of ``sizes.unreduced``, for `flow` and `gradient_descent` with `Start.INPUTS`. The
    start is in the record, so that kernels use neither lam nor kappa: a product takes one lam of any value,
    and a paired batch one for each record. NumPy draws one record at a time.

    Parameters
    ----------
    sizes : Sizes
    seeds : ndarray of int, (S,)
    problem : Problem
        Its task law may also have whitened inputs.
    init_scales : ndarray, (S,), optional
        init_scale of each record, in place of the problem's.
    lams : ndarray, (S,), optional
        lam of each record, for starts that are balanced. Without, starts are the raw weights of the law.
    kappa : float or ndarray, (S,)
        kappa > 0 for starts with two-sided balance, which need N_h >= N_i + N_o.

    Raises
    ------
    TypeError
        If the law of raw starts has no weights.
    ValueError
        If an array does not have one number for each seed, or N_h is too small.
    """
    if lams is None and not isinstance(problem.start, WeightLaw):
        raise TypeError(f"{problem.start} is not a law of weights, so that it has no raw starts")
    if _two_sided(kappa):
        _check_rank(sizes)
    scales = np.full(seeds.size, float(problem.init_scale)) if init_scales is None else init_scales
    kappas = np.full(seeds.size, kappa) if np.ndim(kappa) == 0 else np.asarray(kappa)
    for name, values in (
        ("init_scales", scales),
        ("lams", scales if lams is None else lams),
        ("kappa", kappas),
    ):
        if values.shape != seeds.shape:
            raise ValueError(f"there are {seeds.size} seeds, but {name} has the shape {values.shape}")
    return inputs_problems.draw_records(sizes, seeds, problem, scales, lams, kappas)


def _draw_pairs(
    draw: Callable[[Integers, Problem, Array], Array],
    seeds: Integers,
    problem: Problem,
    init_scales: Array | None,
) -> Array:
    """Return the records of pairs (seed, init_scale). Each run of equal pairs is drawn once."""
    if init_scales is None:
        return draw(seeds, problem, np.full(seeds.size, float(problem.init_scale)))
    if init_scales.shape != seeds.shape:
        raise ValueError(f"there are {seeds.size} seeds, but init_scales has the shape {init_scales.shape}")
    first = np.ones(seeds.size, dtype=bool)
    first[1:] = (np.diff(seeds) != 0) | (np.diff(init_scales) != 0.0)
    drawn = draw(seeds[first], problem, init_scales[first])
    return np.asarray(drawn[np.cumsum(first) - 1])


def factorise(product: Array, n_h: int) -> Factors:
    """Return the singular vectors of a product W2 W1 (N_o, N_i) that N_h hidden units reach.

    `draw_records` takes the same vectors, bit for bit, also where any completion of a basis would do.
    """
    fits = Sizes(product.shape[1], n_h, product.shape[0]).fits_setup
    return (problems.factorise if fits else blas_problems.factorise)(product, n_h)


def follow(
    sizes: UnreducedSizes, lam: Array, s: Array, q0: Array, times: Array, shrinkage: float = 0.0
) -> Paths:
    """Solve networks with given starts in the SVD basis of their targets.

    lam (G, WIDTH); s (G, m, WIDTH); q0 (G, n, width, WIDTH); times (T,), any order, inf allowed. `shrinkage`
    is the weight decay of both layers, which needs lam = 0.
    """
    if sizes.fits_lanes:
        return vector_closed_form.follow(sizes, lam, s, q0, times, shrinkage)
    paths = empty_paths(sizes, len(lam), times.size)
    for group, lane in np.ndindex(lam.shape):
        network = (float(lam[group, lane]), s[group, :, lane], q0[group, :, :, lane])
        if lane and all(np.array_equal(x[group, ..., lane], x[group, ..., lane - 1]) for x in (lam, s, q0)):
            for x in paths:  # this lane repeats the last network, which fills the vector up
                x[group, ..., lane] = x[group, ..., lane - 1]
            continue
        path = blas_dynamics.follow(sizes, *network, times, shrinkage)
        for x, value in zip(paths, path, strict=True):
            x[group, ..., lane] = value
    return paths


def observe(
    sizes: UnreducedSizes,
    outputs: tuple[int, ...],
    lam: Array,
    floor: Array,
    s: Array,
    q0: Array,
    times: Array,
    shrinkage: float = 0.0,
) -> Array:
    """Return outputs (G, T, R, WIDTH) of networks with given starts in the SVD basis of their targets.

    Arguments are those of `follow`, with codes of `Output`, and the least loss of each task in floor
    (G, WIDTH). The network has to fit lanes (``sizes.fits_lanes``).
    """
    if not sizes.fits_lanes:
        raise ValueError(f"{sizes} does not fit lanes; solve it by follow")
    call = observed_path.prepare(sizes, outputs, lam, floor, s, q0, times, shrinkage)
    call()
    values: Array = call.arguments[-1]
    return values


def _sizes_of(sizes: Sizes, start: Start) -> Sizes:
    """Return the sizes of the kernel for a kind of start."""
    if start == Start.TWO_SIDED and sizes.n_h < sizes.units:
        raise ValueError(f"a two-sided start needs N_h >= N_i + N_o, but the network is {sizes}")
    return sizes.followed(start)


def follow_two_sided(
    sizes: UnreducedSizes, lam: Array, kappa: Array, s: Array, q0: Array, times: Array
) -> Array:
    """Return QQ^T (G, T, n, n, WIDTH) of networks with given starts in the SVD basis of their targets.

    lam, kappa > 0 (G, WIDTH); s (G, m, WIDTH); q0 (G, n, n, WIDTH), which satisfies ``Q (D - lam I) Q^T =
    -kappa^2 J``; times (T,), any order, inf allowed.
    """
    _check_rank(sizes)
    if sizes.two_sided.fits_lanes:
        return two_sided_closed_form.follow(sizes, lam, kappa, s, q0, times)
    qqt = np.empty((len(lam), times.size, sizes.n, sizes.n, WIDTH))
    given = (lam, kappa, s, q0)
    for group, lane in np.ndindex(lam.shape):
        if lane and all(np.array_equal(x[group, ..., lane], x[group, ..., lane - 1]) for x in given):
            qqt[group, ..., lane] = qqt[group, ..., lane - 1]  # this lane fills the vector up
            continue
        network = (
            float(lam[group, lane]),
            float(kappa[group, lane]),
            s[group, :, lane],
            q0[group, :, :, lane],
        )
        qqt[group, ..., lane] = two_sided_dynamics.follow(sizes, *network, times)
    return qqt


def _two_sided(kappa: float | Array) -> bool:
    """Return whether kappa > 0, and raise where that holds for some points only."""
    positive = np.asarray(kappa) > 0.0
    if positive.any() and not positive.all():
        raise ValueError("kappa is 0 for some points and above for others, which need another kernel")
    return bool(positive.any())


def _check_rank(sizes: Sizes) -> None:
    """Raise where no network with kappa > 0 exists."""
    if sizes.n_h < sizes.units:
        raise ValueError(f"N_h = {sizes.n_h} is too narrow: kappa > 0 needs N_h >= N_i + N_o = {sizes.units}")


def _check_scales(scales: Iterable[int]) -> None:
    """Raise where kappa > 0 has no such time scale."""
    if tuple(scales) != (Scale.CONVERGENCE,):
        raise ValueError(
            f"scales {tuple(scales)} are not ({int(Scale.CONVERGENCE)},), the only one of kappa > 0"
        )


def _check_lengths(batch: Batch) -> None:
    """Raise where compiled code would read or write past the end of an array."""
    if batch.paired and len(batch.records) != batch.lam.size:
        raise ValueError(f"a paired batch has {len(batch.records)} records, but {batch.lam.size} lam")
    needed = padded(batch.points)
    if batch.outputs.shape[1] < needed or batch.status.size < needed:
        shapes = f"outputs {batch.outputs.shape} and status {batch.status.shape}"
        raise ValueError(f"{shapes} are too short: {needed} points are needed")
