"""Set-up of the problems of (architecture, seed): draws, factors and the SVD basis of the task.

In the basis of Sigma_yx = U S V^T the target is diagonal, and no result depends on the hidden rotation.
Therefore all lam, init_scale and times of a sweep share one `Record`. Eight seeds are set up at a time. Maps
have their wider side in rows: they are stored as Sigma_yx where N_o >= N_i, and transposed otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastlin.kernels.compiler.arithmetic import fma
from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.jit import Array as Doubles
from fastlin.kernels.compiler.jit import Call, Integers, jit
from fastlin.kernels.compiler.memory import Numbers, Spread
from fastlin.kernels.compiler.protocols import Array, Code, Number, Row, Whole
from fastlin.kernels.compiler.static import CompileTime
from fastlin.kernels.compiler.tracing import traced
from fastlin.kernels.compiler.values import WIDTH, Index
from fastlin.kernels.compiler.workspace import Field, Workspace, aligned, part
from fastlin.kernels.draws import Factors, LaneStart, Problem, RegressionTask, WeightStart
from fastlin.kernels.random import (
    Stream,
    halved,
    pairs_of,
    scratch,
    shared,
    stream_key,
    write_normals,
    write_squares,
    write_uniforms,
)
from fastlin.kernels.sizes import Record, Sizes
from fastlin.kernels.vector.forms import Form, form
from fastlin.kernels.vector.jacobi import svd
from fastlin.kernels.vector.reflections import reflect, triangularise


class TaskSetUp(Workspace):
    """The arrays of the tasks of a vector of problems."""

    task = Field("wide m")  # Sigma_yx, then its singular vectors on the wider side
    task_small = Field("m m")  # and on the other
    s = Field("m")


class SetUp(TaskSetUp):
    """The arrays of the set-up of a vector of problems."""

    # The unbalanced product
    init = Field("wide m")  # the product, then its singular vectors on the wider side
    init_small = Field("m m")  # and on the other
    p = Field("m")
    thin = Field("wide k")  # factors X and Z of a product X Z^T below full rank, wider side first
    thin_small = Field("k k")
    other = Field("m k")
    basis = Field("wide k_wide")  # singular vectors that the hidden layer reaches

    # The product in the frame of the task
    beyond = Field("wide k_wide")  # `basis` in that frame
    small_overlaps = Field("m m")  # the other side in that frame

    # Householder reflections
    reflectors = Field("wide m")
    scales = Field("wide twice")


def _place(code: Code, matrix: Array, o: Whole, i: Whole, value: Number) -> None:
    """Write entry (o, i) of a map whose wider side is in rows."""
    flag = code.sizes.outputs_wide
    matrix[code.choose(flag, o, i), code.choose(flag, i, o)] = value


@part(reads="task task_small s", writes="task task_small s")
def decompose_task(code: Code, ws: TaskSetUp) -> None:
    """Write the singular vectors and values of the task, in place."""
    svd(code, ws.task, ws.task_small, ws.s)


@part(reads="init init_small p", writes="init init_small p basis")
def _decompose_init(code: Code, ws: SetUp) -> None:
    """Write the singular vectors that the hidden layer reaches, those of the wider side to `basis`.

    Past the rank of the map any orthonormal completion would do. Here it is that of Householder reflections.
    """
    sizes = code.sizes
    svd(code, ws.init, ws.init_small, ws.p)
    for row in code.loop(0, sizes.wide):
        for column in code.loop(0, sizes.kept):
            ws.basis[row, column] = ws.init[row, column]
    code.given(sizes.completed, lambda: _complete(code, ws))


@part(reads="init reflectors scales basis", writes="basis reflectors scales")
def _complete(code: Code, ws: SetUp) -> None:
    """Complete the singular vectors on the wider side to as many as the hidden layer reaches."""
    sizes = code.sizes
    for row in code.loop(0, sizes.wide):
        for column in code.loop(sizes.m, sizes.k_wide):
            ws.basis[row, column] = 0.0
        for column in code.loop(0, sizes.m):
            ws.reflectors[row, column] = ws.init[row, column]
    for column in code.loop(sizes.m, sizes.k_wide):
        ws.basis[column, column] = 1.0
    triangularise(code, ws.reflectors, 0, ws.scales)
    for back in code.loop(0, sizes.m):
        j = sizes.m - 1 - back
        reflect(code, ws.reflectors, j, j, ws.scales[j, 0], ws.basis, sizes.m, sizes.k_wide)


@part(reads="task basis", writes="beyond")
def _align_square(code: Code, ws: SetUp) -> None:
    """Write `basis` to `beyond`, in the frame of a task whose directions are all singular vectors."""
    _overlaps(code, ws.task, ws.basis, ws.beyond)


@part(reads="task basis scales", writes="task basis scales beyond")
def _align_oblong(code: Code, ws: SetUp) -> None:
    """Write `basis` in the frame of the task to `beyond`, singular directions first."""
    sizes = code.sizes
    triangularise(code, ws.task, 0, ws.scales, ws.basis)
    for j in code.loop(0, sizes.m):
        sign = ws.scales[j, 1]  # the diagonal of the triangle, 1 or -1 for orthonormal columns
        for column in code.loop(0, sizes.k_wide):
            ws.basis[j, column] = sign * ws.basis[j, column]
    for row in code.loop(0, sizes.wide):
        for column in code.loop(0, sizes.k_wide):
            ws.beyond[row, column] = ws.basis[row, column]
    code.given(sizes.loose, lambda: _reduce(code, ws))


@part(reads="basis scales", writes="basis scales beyond")
def _reduce(code: Code, ws: SetUp) -> None:
    """Rotate the directions outside the task until k_wide of them carry the start."""
    sizes = code.sizes
    triangularise(code, ws.basis, sizes.m, ws.scales)
    for row in code.loop(0, sizes.k_wide):
        for column in code.loop(0, row):
            ws.beyond[row + sizes.m, column] = 0.0
        ws.beyond[row + sizes.m, row] = ws.scales[row, 1]
        for column in code.loop(row + 1, sizes.k_wide):
            ws.beyond[row + sizes.m, column] = ws.basis[row + sizes.m, column]


def _overlaps(code: Code, x: Array, y: Array, out: Array) -> None:
    """Write X^T Y to out, for as many columns as out has."""
    for r in code.loop(0, x.shape[1]):
        for c in code.loop(0, out.shape[1]):
            total = code.variable(0.0)
            for row in code.loop(0, x.shape[0]):
                total.value = fma(x[row, r], y[row, c], total.value)
            out[r, c] = total.value


@part(
    reads="other scales thin basis thin_small p init_small",
    writes="other scales basis thin_small p init_small",
)
def _decompose_thin(code: Code, ws: SetUp) -> None:
    """Decompose a start X Z^T of rank N_h < m. With Z = Q R it takes the smaller SVD of X R^T."""
    sizes = code.sizes
    triangularise(code, ws.other, 0, ws.scales)
    for row in code.loop(0, sizes.wide):
        for c in code.loop(0, sizes.k):
            entry = code.variable(ws.thin[row, c] * ws.scales[c, 1])
            for j in code.loop(c + 1, sizes.k):
                entry.value = fma(ws.thin[row, j], ws.other[c, j], entry.value)
            ws.basis[row, c] = entry.value
    svd(code, ws.basis, ws.thin_small, ws.p)
    for c in code.loop(0, sizes.k):
        for row in code.loop(0, sizes.k):
            ws.init_small[row, c] = ws.thin_small[row, c]
        for row in code.loop(sizes.k, sizes.m):
            ws.init_small[row, c] = 0.0
    for back in code.loop(0, sizes.k):
        j = sizes.k - 1 - back
        reflect(code, ws.other, j, j, ws.scales[j, 0], ws.init_small, 0, sizes.k)


@part(reads="other thin", writes="other thin")
def _thin_start(code: Code, ws: SetUp, numbers: Row) -> None:
    """Write the factors of the product of weights."""
    sizes = code.sizes
    first = code.choose(sizes.outputs_wide, ws.other, ws.thin)
    second = code.choose(sizes.outputs_wide, ws.thin, ws.other)
    for h in code.loop(0, sizes.n_h):
        for i in code.loop(0, sizes.n_i):
            first[i, h] = numbers[h * sizes.n_i + i]
        for o in code.loop(0, sizes.n_o):
            second[o, h] = numbers[o * sizes.n_h + h + sizes.n_h * sizes.n_i]


@part(writes="init")
def _full_start(code: Code, ws: SetUp, kind: str, numbers: Row, unit: Number) -> None:
    """Write the unbalanced product of a start."""
    sizes = code.sizes
    for o in code.loop(0, sizes.n_o):
        for i in code.loop(0, sizes.n_i):
            if kind == "random_regression":
                _place(code, ws.init, o, i, unit * numbers[o * sizes.n_i + i])
                continue
            entry = code.variable(0.0)
            for h in code.loop(0, sizes.n_h):
                second = numbers[sizes.n_h * sizes.n_i + o * sizes.n_h + h]
                entry.value = fma(second, numbers[h * sizes.n_i + i], entry.value)
            _place(code, ws.init, o, i, entry.value)


@part(reads="s p beyond small_overlaps")
def _write_record(code: Code, ws: SetUp, out: Spread, kind: str, scale: Number, floor: Number) -> None:
    """Write the record of the problem of each lane."""
    sizes, record = code.sizes, Record(code.sizes)
    out[record.floor] = floor
    for a in code.loop(0, sizes.m):
        out[record.s + a] = ws.s[a]
    for h in code.loop(0, sizes.k):
        out[record.p + h] = scale if kind == "aligned" else scale * ws.p[h]
    flag, wide, small = sizes.outputs_wide, ws.beyond, ws.small_overlaps
    sides = (
        (record.v, sizes.rows_i, sizes.k_i, code.choose(flag, small, wide)),
        (record.u, sizes.rows_o, sizes.k_o, code.choose(flag, wide, small)),
    )
    for first, rows, columns, vectors in sides:
        for row in code.loop(0, rows):
            for column in code.loop(0, columns):
                value = code.constant(0.0) if kind == "aligned" else vectors[row, column]
                out[row * columns + column + first] = value
        if kind == "aligned":
            for column in code.loop(0, columns):
                out[column * (columns + 1) + first] = code.constant(1.0)


@part()
def _set_up_vector(
    code: VectorCode, ws: SetUp, kind: str, targets: Row, numbers: Row, unit: Number, init_unit: Number
) -> None:
    """Decompose the task and the start of one vector of problems, from their numbers."""
    sizes = code.sizes
    write_task(code, ws, targets, unit)
    ws.call(code, decompose_task)
    if kind == "aligned":
        return

    def thin() -> None:
        _thin_start(code, ws, numbers)
        ws.call(code, _decompose_thin)

    def full() -> None:
        _full_start(code, ws, kind, numbers, init_unit)
        ws.call(code, _decompose_init)

    if kind == "weights":
        code.given(sizes.thin, thin, full)
    else:
        full()
    _write_small_overlaps(code, ws)
    code.given(sizes.square, lambda: ws.call(code, _align_square), lambda: ws.call(code, _align_oblong))


@part(writes="task")
def write_task(code: Code, ws: TaskSetUp, targets: Row, unit: Number) -> None:
    """Write Sigma_yx, from the normal numbers of the targets."""
    sizes = code.sizes
    for o in code.loop(0, sizes.n_o):
        for i in code.loop(0, sizes.n_i):
            _place(code, ws.task, o, i, unit * targets[o * sizes.n_i + i])


@part(reads="task_small init_small", writes="small_overlaps")
def _write_small_overlaps(code: Code, ws: SetUp) -> None:
    _overlaps(code, ws.task_small, ws.init_small, ws.small_overlaps)


class Setting(NamedTuple):
    """The problems that a kernel sets up in one call, and the arrays that it needs."""

    seeds: Any  # (S,)
    target_key: Any  # of the stream of targets
    targets_off: Any  # number of targets off the span of the inputs
    target_unit: Any  # standard deviation of an entry of Sigma_yx
    init_key: Any  # of the stream of the start
    init_uniform: Any  # 1 if its numbers are uniform, 0 if they are normal
    scales: Any  # (S,) factor of the start of each record
    lanes: Any  # (WIDTH,) seeds of a vector
    floors: Any  # (WIDTH,) sums of squares of targets off the span of the inputs
    uniforms: Any  # scratch of the draws
    targets: Any  # (numbers, WIDTH) normal numbers of the tasks of a vector
    numbers: Any  # (numbers, WIDTH) numbers of the starts
    records: Any  # (S, length) written


def _draw_start(code: VectorCode, setting: Setting, pairs: Index) -> None:
    """Draw the numbers of the starts of a vector."""
    key, seeds, numbers = setting.init_key, setting.lanes, setting.numbers

    def uniforms() -> None:
        write_uniforms(code, key, seeds, pairs, numbers)

    def normals() -> None:
        write_normals(code, key, seeds, code.whole(0), pairs, setting.uniforms, numbers)

    code.given(code.equal(setting.init_uniform, 1), uniforms, normals)


def over_vectors(code: VectorCode, setting: Setting) -> Iterator[tuple[Spread, Number, Number]]:
    """Write a loop over vectors of problems, and draw the numbers of each.

    Yield the records of a vector, its least losses, and the factors of its starts.
    """
    unit = setting.target_unit
    count, length = setting.records.shape
    targets_pairs, numbers_pairs = (
        halved(code, draws.shape[0]) for draws in (setting.targets, setting.numbers)
    )
    rounds = Index(code, code.builder.udiv((count + (WIDTH - 1)).ir, code.integer(WIDTH)))
    seeds, floors = setting.lanes, setting.floors
    zero = code.whole(0)
    for vector in code.loop(0, rounds):
        rows: list[Whole] = [code.least(vector * WIDTH + lane, count - 1) for lane in range(WIDTH)]
        for lane, row in enumerate(rows):
            seeds.store(lane, setting.seeds.number(row))
        write_normals(code, setting.target_key, seeds, zero, targets_pairs, setting.uniforms, setting.targets)
        floors.vectors()[0] = 0.0
        write_squares(
            code,
            setting.target_key,
            seeds,
            targets_pairs,
            setting.targets_off,
            setting.uniforms,
            floors,
        )
        _draw_start(code, setting, numbers_pairs)
        out = Spread(setting.records, [row * length for row in rows])
        scales = Spread(setting.scales, rows)
        yield out, 0.5 * unit * unit * floors.vectors()[0], scales[0]


@traced()
def _set_up_records(code: VectorCode, kind: str, work: Numbers, setting: Setting, init_unit: Number) -> None:
    """Draw and decompose all problems, one vector at a time, and write their records."""
    for out, floor, scale in over_vectors(code, setting):
        ws = SetUp.open(code, work)
        targets, numbers = setting.targets.vectors(), setting.numbers.vectors()
        _set_up_vector(code, ws, kind, targets, numbers, setting.target_unit, init_unit)
        _write_record(code, ws, out, kind, scale, floor)


@jit
def _set_up(sizes: Form, kind: CompileTime, work: Doubles, setting: Setting, init_unit: float) -> None:
    """Write the records of problems.

    init_unit is the standard deviation of an entry of the start's own Sigma_yx. The scales of the setting
    multiply the singular values of the unbalanced product.
    """
    _set_up_records(sizes, kind, work, setting, init_unit)


def setting_of(
    sizes: Sizes, seeds: Integers, task: RegressionTask, start: LaneStart, scales: Doubles
) -> Setting:
    """Return the arguments that draw problems in lanes. `sizes` are those of the records."""
    return Setting(
        seeds,
        np.uint64(stream_key(Stream.TARGETS, shared(sizes))),
        task.off(sizes),
        task.unit(sizes),
        np.uint64(stream_key(start.stream, sizes)),
        int(isinstance(start, WeightStart) and start.uniform),
        scales,
        np.empty(WIDTH, dtype=np.int64),
        np.empty(WIDTH),
        scratch(),
        aligned(2 * pairs_of(sizes.n_i * sizes.n_o)),
        aligned(2 * pairs_of(start.count(sizes))),
        np.empty((seeds.size, Record(sizes).length)),
    )


def prepare_records(
    sizes: Sizes, seeds: Integers, problem: Problem, init_scales: Doubles, specialise: bool
) -> Call:
    """Return the call that draws and factorises problems in lanes (see `dispatch.draw_records`)."""
    task, start = problem.task, problem.start
    assert isinstance(task, RegressionTask) and isinstance(start, LaneStart)
    unit, scales = start.unit(sizes), problem.strengths(init_scales)
    if isinstance(start, WeightStart):  # the product of numbers without units is decomposed
        scales *= unit
    compiled_for = form(sizes, SetUp, specialise=specialise, unroll=False)
    setting, kind = setting_of(sizes, seeds, task, start, scales), CompileTime(start.compiled_kind)
    return Call(_set_up, (compiled_for, kind, SetUp.allocate(sizes), setting, unit))


def draw_records(
    sizes: Sizes, seeds: Integers, problem: Problem, init_scales: Doubles, specialise: bool
) -> Doubles:
    """Draw and factorise problems in lanes, which are independent (see `dispatch.draw_records`)."""
    call = prepare_records(sizes, seeds, problem, init_scales, specialise)
    call()
    records: Doubles = call.arguments[3].records
    return records


def nanoseconds(sizes: Sizes) -> Any:
    """Estimate the time of the set-up of one problem on one core (see `closed_form.nanoseconds`)."""
    draws = 3.4 * sizes.n_h * sizes.units + 5.9 * sizes.n_i * sizes.n_o
    return 150.0 + draws + 2.6 * sizes.m * sizes.wide * (sizes.m + sizes.k_wide)


@traced()
def _factorise_vector(code: VectorCode, work: Numbers) -> None:
    SetUp.open(code, work).call(code, _decompose_init)


@jit
def _factorise(sizes: Form, work: Doubles) -> None:
    _factorise_vector(sizes, work)


def factorise(product: Doubles, n_h: int) -> Factors:
    """Factorise one product in lanes (see `dispatch.factorise`)."""
    sizes = Sizes(product.shape[1], n_h, product.shape[0])
    work = SetUp.allocate(sizes)
    views = SetUp.views(sizes, work)
    views["init"][...] = (product if sizes.outputs_wide else product.T)[..., None]
    _factorise(form(sizes, SetUp, unroll=False), work)
    wide, small = views["basis"][..., 0].copy(), views["init_small"][:, : min(n_h, sizes.m), 0].copy()
    u, v = (wide, small) if sizes.outputs_wide else (small, wide)
    return Factors(u, views["p"][: sizes.k, 0].copy(), v)
