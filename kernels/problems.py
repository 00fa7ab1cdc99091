"""What an (architecture, seed) needs that does not depend on lam: drawn, factorised, in the SVD basis.

In the basis of Sigma_yx = U S V^T the target is diagonal and nothing depends on the hidden rotation, so
all lam, init_scale and times of a sweep share one `Record`. Eight seeds are set up at a time. Maps are
held with their wider side in rows: as Sigma_yx where N_o >= N_i, transposed otherwise.
"""

from typing import Any, NamedTuple

import numpy as np

from fastlin.kernels.jit import Array, Integers, jit
from fastlin.kernels.lanes import Spread, fma, traced
from fastlin.kernels.random import (
    Stream,
    add_squares,
    draw_normals,
    pairs_of,
    scratch,
    shared,
    standard_normals,
    stream_key,
)
from fastlin.kernels.reflections import reflect, triangularise
from fastlin.kernels.singular import svd
from fastlin.kernels.sizes import WIDTH, Known, Record, Sizes
from fastlin.kernels.workspace import Layout, aligned

# Power of init_scale that multiplies the singular values of the unbalanced product W2 W1: raw weights
# scale both factors, the Sigma_yx of a task scales once, a mode of an aligned start is w1 * w2.
INIT_POWER = {"gaussian": 2, "random_regression": 1, "aligned": 2}

SETUP = Layout(
    {
        "task": "wide m",  # Sigma_yx, then its singular vectors on the wider side
        "task_small": "m m",  # and on the other
        "s": "m",
        "init": "wide m",  # the same of the product
        "init_small": "m m",
        "p": "m",
        "thin": "wide k",  # factors X, Z of a product X Z^T of less than full rank, wider side first
        "thin_small": "k k",
        "other": "m k",
        "basis": "wide k_wide",  # singular vectors of the product that the hidden layer reaches
        "beyond": "wide k_wide",  # the same in the frame of the task
        "small_overlaps": "m m",  # and the other side
        "reflectors": "wide m",
        "scales": "wide twice",
    }
)


class Factors(NamedTuple):
    """Singular vectors and values of an unbalanced product W2 W1: u (N_o, k_o), p (k,), v (N_i, k_i)."""

    u: Array
    p: Array
    v: Array


def target_unit(n_o: int, n_samples: int, target_scale: float) -> float:
    """Return the standard deviation of an entry of Sigma_yx: target_scale / sqrt(N_o P)."""
    return float(target_scale / np.sqrt(n_o * n_samples))


class TargetDraws(NamedTuple):
    """Standard normals in the frame of the inputs: along them (N_o, N_i), off them (N_o, P - N_i)."""

    along: Array
    off: Array


def draw_targets(seed: int, sizes: Sizes, n_samples: int) -> TargetDraws:
    """Draw the targets of a random regression task (B.2.1) as standard normals.

    Y is i.i.d. normal and X is independent of it, so Y has the same law in any orthonormal frame of
    the sample space. In the frame whose first N_i axes are the rows of the whitened X,
    ``Sigma_yx = target_scale / sqrt(N_o P) * along`` and the rest of Y is ``off``: X itself is not needed.
    """
    entries = sizes.n_o * sizes.n_i
    along = standard_normals(Stream.TARGETS, seed, shared(sizes), entries)
    off = standard_normals(
        Stream.TARGETS, seed, shared(sizes), sizes.n_o * (n_samples - sizes.n_i), pairs_of(entries)
    )
    return TargetDraws(along.reshape(sizes.n_o, sizes.n_i), off.reshape(sizes.n_o, -1))


def target_floor(seed: int, sizes: Sizes, n_samples: int, target_scale: float) -> float:
    """Return (tr Sigma_yy - |Sigma_yx|^2) / 2 of such a task, from the targets off the span of the inputs."""
    total, seeds = np.zeros(WIDTH), np.full(WIDTH, seed)
    key = np.uint64(stream_key(Stream.TARGETS, shared(sizes)))
    off = sizes.n_o * (n_samples - sizes.n_i)
    add_squares(sizes, key, seeds, pairs_of(sizes.n_o * sizes.n_i), off, scratch(), total)
    return 0.5 * target_unit(sizes.n_o, n_samples, target_scale) ** 2 * float(total[0])


def draw_product(kind: str, seed: int, sizes: Sizes, n_samples: int | None) -> Array:
    """Draw the unbalanced product W2 W1 (N_o, N_i) at init_scale 1, for the kinds that are drawn."""
    if kind == "gaussian":
        w1, w2 = draw_weights(seed, sizes)
        return w2 @ w1
    assert n_samples is not None
    numbers = standard_normals(_STREAMS[kind], seed, sizes, _init_draws(kind, sizes))
    return target_unit(sizes.n_o, n_samples, 1.0) * numbers.reshape(sizes.n_o, sizes.n_i)


def draw_weights(seed: int, sizes: Sizes) -> tuple[Array, Array]:
    """Draw raw Gaussian weights W1 (N_h, N_i) and W2 (N_o, N_h) at init_scale 1."""
    numbers = standard_normals(_STREAMS["gaussian"], seed, sizes, _init_draws("gaussian", sizes))
    first, second = np.split(numbers, [sizes.n_h * sizes.n_i])
    return first.reshape(sizes.n_h, sizes.n_i), second.reshape(sizes.n_o, sizes.n_h)


_STREAMS = {"gaussian": Stream.INIT_GAUSSIAN, "random_regression": Stream.INIT_REGRESSION}


def _init_draws(kind: str, sizes: Sizes) -> int:
    """Return how many numbers a start is drawn from."""
    counts = {
        "gaussian": sizes.n_h * (sizes.n_i + sizes.n_o),
        "random_regression": sizes.n_i * sizes.n_o,
        "aligned": 0,
    }
    return counts[kind]


def _place(sizes: Any, matrix: Any, o: Any, i: Any, value: Any) -> None:
    """Write entry (o, i) of a map, wider side in rows."""
    matrix[(o, i) if sizes.wide_is_outputs else (i, o)] = value


def _decompose_task(code: Any, room: Any) -> None:
    svd(code, room.task, room.task_small, room.s)


def _decompose_init(code: Any, room: Any) -> None:
    """Write the singular vectors that the hidden layer reaches, on the wider side to `basis`.

    Past the rank of the map they are any that complete it: those of its Householder reflections.
    """
    sizes = code.sizes
    svd(code, room.init, room.init_small, room.p)
    for row in code.loop(0, sizes.wide):
        for column in code.loop(0, min(sizes.m, sizes.k_wide)):
            room.basis[row, column] = room.init[row, column]
    if sizes.k_wide <= sizes.m:
        return
    for row in code.loop(0, sizes.wide):
        for column in code.loop(sizes.m, sizes.k_wide):
            room.basis[row, column] = 0.0
        for column in code.loop(0, sizes.m):
            room.reflectors[row, column] = room.init[row, column]
    for column in code.loop(sizes.m, sizes.k_wide):
        room.basis[column, column] = 1.0
    triangularise(code, room.reflectors, 0, room.scales)
    for back in code.loop(0, sizes.m):
        j = sizes.m - 1 - back
        reflect(code, room.reflectors, j, j, room.scales[j, 0], room.basis, sizes.m, sizes.k_wide)


def _align(code: Any, room: Any) -> None:
    """Turn `basis` into the frame of the task: first its singular directions, then those beyond them."""
    sizes = code.sizes
    if sizes.wide == sizes.m:
        _overlaps(code, room.task, room.basis, room.beyond)
        return
    triangularise(code, room.task, 0, room.scales, room.basis)
    for j in code.loop(0, sizes.m):
        sign = room.scales[j, 1]  # the diagonal: vectors of norm 1 leave 1 or -1
        for column in code.loop(0, sizes.k_wide):
            room.basis[j, column] = sign * room.basis[j, column]
    for row in code.loop(0, sizes.wide):
        for column in code.loop(0, sizes.k_wide):
            room.beyond[row, column] = room.basis[row, column]
    if sizes.wide - sizes.m > sizes.k_wide:
        triangularise(code, room.basis, sizes.m, room.scales)
        for row in code.loop(0, sizes.k_wide):
            for column in code.loop(0, row):
                room.beyond[row + sizes.m, column] = 0.0
            room.beyond[row + sizes.m, row] = room.scales[row, 1]
            for column in code.loop(row + 1, sizes.k_wide):
                room.beyond[row + sizes.m, column] = room.basis[row + sizes.m, column]


def _overlaps(code: Any, x: Any, y: Any, out: Any) -> None:
    """out = X^T Y, for as many columns as out has."""
    for r in code.loop(0, x.shape[1]):
        for c in code.loop(0, min(out.shape[1], y.shape[1])):
            total = code.variable(0.0)
            for row in code.loop(0, x.shape[0]):
                total.now = fma(x[row, r], y[row, c], total.now)
            out[r, c] = total.now


def _decompose_thin(code: Any, room: Any) -> None:
    """Do the same for a product X Z^T of rank N_h < m, which costs less: with Z = Q R, of X R^T."""
    sizes = code.sizes
    triangularise(code, room.other, 0, room.scales)
    for row in code.loop(0, sizes.wide):
        for c in code.loop(0, sizes.k):
            entry = code.variable(room.thin[row, c] * room.scales[c, 1])
            for j in code.loop(c + 1, sizes.k):
                entry.now = fma(room.thin[row, j], room.other[c, j], entry.now)
            room.basis[row, c] = entry.now
    svd(code, room.basis, room.thin_small, room.p)
    for c in code.loop(0, sizes.k):
        for row in code.loop(0, sizes.k):
            room.init_small[row, c] = room.thin_small[row, c]
        for row in code.loop(sizes.k, sizes.m):
            room.init_small[row, c] = 0.0
    for back in code.loop(0, sizes.k):
        j = sizes.k - 1 - back
        reflect(code, room.other, j, j, room.scales[j, 0], room.init_small, 0, sizes.k)


def _thin_start(code: Any, sizes: Any, room: Any, numbers: Any) -> None:
    """Write the factors of the product of Gaussian weights."""
    first, second = (room.other, room.thin) if sizes.wide_is_outputs else (room.thin, room.other)
    for h in code.loop(0, sizes.n_h):
        for i in code.loop(0, sizes.n_i):
            first[i, h] = numbers[h * sizes.n_i + i]
        for o in code.loop(0, sizes.n_o):
            second[o, h] = numbers[o * sizes.n_h + h + sizes.n_h * sizes.n_i]


def _start_of(code: Any, sizes: Any, room: Any, kind: str, numbers: Any, unit: Any) -> None:
    """Write the unbalanced product that a start is balanced from."""
    for o in code.loop(0, sizes.n_o):
        for i in code.loop(0, sizes.n_i):
            if kind == "random_regression":
                _place(sizes, room.init, o, i, unit * numbers[o * sizes.n_i + i])
                continue
            entry = code.variable(0.0)
            for h in code.loop(0, sizes.n_h):
                second = numbers[sizes.n_h * sizes.n_i + o * sizes.n_h + h]
                entry.now = fma(second, numbers[h * sizes.n_i + i], entry.now)
            _place(sizes, room.init, o, i, entry.now)


def _write_record(code: Any, room: Any, out: Any, kind: str, scale: Any, floor: Any) -> None:
    """Write the record of each lane's problem."""
    sizes, record = code.sizes, Record(code.sizes)
    out[record.floor] = floor
    for a in code.loop(0, sizes.m):
        out[record.s + a] = room.s[a]
    for h in code.loop(0, sizes.k):
        out[record.p + h] = scale if kind == "aligned" else scale * room.p[h]
    sides = ((record.v, sizes.rows_i, sizes.k_i), (record.u, sizes.rows_o, sizes.k_o))
    for first, rows, columns in sides:
        wide = (first == record.u) == sizes.wide_is_outputs
        for row in code.loop(0, rows):
            for column in code.loop(0, columns):
                place = row * columns + column + first
                if kind == "aligned":
                    out[place] = code.constant(0.0)
                else:
                    out[place] = (room.beyond if wide else room.small_overlaps)[row, column]
        if kind == "aligned":
            for column in code.loop(0, columns):
                out[column * (columns + 1) + first] = code.constant(1.0)


@traced(floors="")
def _set_up_vector(
    code: Any,
    sizes: Sizes,
    kind: str,
    work: Any,
    targets: Any,
    numbers: Any,
    rows: Any,
    floors: Any,
    unit: Any,
    init_unit: Any,
    init_scale: Any,
    records: Any,
) -> None:
    """Set up the problems of one vector from their normal numbers, and write their records."""
    room = SETUP.open(code, work)
    targets, numbers = targets.vectors(), numbers.vectors()
    for o in code.loop(0, sizes.n_o):
        for i in code.loop(0, sizes.n_i):
            _place(sizes, room.task, o, i, unit * targets[o * sizes.n_i + i])
    room.call(_decompose_task)
    if kind != "aligned":
        if kind == "gaussian" and sizes.n_h < sizes.m:
            _thin_start(code, sizes, room, numbers)
            room.call(_decompose_thin)
        else:
            _start_of(code, sizes, room, kind, numbers, init_unit)
            room.call(_decompose_init)
        _overlaps(code, room.task_small, room.init_small, room.small_overlaps)
        room.call(_align)
    out = Spread(records, [rows[lane] * Record(sizes).length for lane in range(WIDTH)])
    _write_record(code, room, out, kind, init_scale, 0.5 * unit * unit * floors[()])


@jit
def _set_up(
    sizes: Sizes,
    kind: Any,
    work: Array,
    seeds: Integers,
    key: np.uint64,
    off: int,
    unit: float,
    init_key: np.uint64,
    init_unit: float,
    init_scale: float,
    uniforms: Array,
    targets: Array,
    numbers: Array,
    records: Array,
) -> None:
    rows, lanes, floors = np.empty(WIDTH, np.int64), np.empty(WIDTH, np.int64), np.empty(WIDTH)
    for first in range(0, seeds.size, WIDTH):
        for lane in range(WIDTH):
            rows[lane] = min(first + lane, seeds.size - 1)
            lanes[lane] = seeds[rows[lane]]
        draw_normals(sizes, key, lanes, 0, uniforms, targets)
        floors[:] = 0.0
        add_squares(sizes, key, lanes, targets.shape[0] // 2, off, uniforms, floors)
        draw_normals(sizes, init_key, lanes, 0, uniforms, numbers)
        _set_up_vector(
            sizes, kind, work, targets, numbers, rows, floors, unit, init_unit, init_scale, records
        )


def draw_records(
    sizes: Sizes,
    seeds: Integers,
    n_samples: int,
    target_scale: float,
    init_kind: str,
    init_scale: float,
) -> Array:
    """Do what `tiers.draw_records` says, in lanes, which do not touch each other."""
    records = np.empty((seeds.size, Record(sizes).length))
    _set_up(
        sizes,
        Known(init_kind),
        SETUP.allocate(sizes),
        seeds,
        np.uint64(stream_key(Stream.TARGETS, shared(sizes))),
        sizes.n_o * (n_samples - sizes.n_i),
        target_unit(sizes.n_o, n_samples, target_scale),
        np.uint64(stream_key(_STREAMS.get(init_kind, Stream.INIT_GAUSSIAN), sizes)),
        target_unit(sizes.n_o, n_samples, 1.0),
        float(init_scale ** INIT_POWER[init_kind]),
        scratch(),
        aligned(2 * pairs_of(sizes.n_i * sizes.n_o)),
        aligned(2 * pairs_of(_init_draws(init_kind, sizes))),
        records,
    )
    return records


@traced()
def _factorise_vector(code: Any, sizes: Sizes, work: Any) -> None:
    SETUP.open(code, work).call(_decompose_init)


@jit
def _factorise(sizes: Sizes, work: Array) -> None:
    _factorise_vector(sizes, work)


def factorise(product: Array, n_h: int) -> Factors:
    """Do what `tiers.factorise` says, in lanes."""
    sizes = Sizes(product.shape[1], n_h, product.shape[0])
    work = SETUP.allocate(sizes)
    views = SETUP.views(sizes, work)
    views["init"][...] = (product if sizes.wide_is_outputs else product.T)[..., None]
    _factorise(sizes, work)
    wide, small = views["basis"][..., 0].copy(), views["init_small"][:, : min(n_h, sizes.m), 0].copy()
    u, v = (wide, small) if sizes.wide_is_outputs else (small, wide)
    return Factors(u, views["p"][: sizes.k, 0].copy(), v)
