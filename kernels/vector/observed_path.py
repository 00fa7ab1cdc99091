"""Outputs of the closed form of networks with given starts: a vector is eight networks, at any times.

Each time is reached by a jump from the start. A march along a grid would add its rounding errors.
"""

from __future__ import annotations

import numpy as np

from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.jit import Array, Call, jit
from fastlin.kernels.compiler.memory import Memory as Lanes
from fastlin.kernels.compiler.memory import Numbers
from fastlin.kernels.compiler.static import CompileTime
from fastlin.kernels.compiler.tracing import traced
from fastlin.kernels.compiler.values import WIDTH, Lane
from fastlin.kernels.sizes import UnreducedSizes
from fastlin.kernels.vector.closed_form import begin, begin_shrinking, jump_shrinking, limit_shrinking
from fastlin.kernels.vector.evolution import jump_to_time, limit
from fastlin.kernels.vector.forms import Form, form
from fastlin.kernels.vector.observables import Observer, observe_start
from fastlin.kernels.vector.state import Dynamics


@traced(lam="", floor="", s="m", q0="n width")
def _observe_vector(
    code: VectorCode,
    outputs: tuple[int, ...],
    shrinks: bool,
    work: Numbers,
    shrinkage: Lane,
    lam: Lanes,
    floor: Lanes,
    s: Lanes,
    q0: Lanes,
    times: Numbers,
    out: Numbers,
) -> None:
    """Write the outputs of one vector of networks at all times."""
    ws, observer = Dynamics.open(code, work), Observer(outputs, drifts=False)
    ws.lam[()], ws.floor[()], ws.shrinkage[()] = lam[()], floor[()], shrinkage
    ws.s.fill(s)
    ws.q0.fill(q0)
    ws.call(code, begin_shrinking if shrinks else begin)
    ws.call(code, observe_start)
    ws.jumping[()] = 1.0
    with code.flushing():  # directions that the flow forgets decay to 0
        for index in code.loop(0, times.shape[0]):
            time = times[index]
            ws.time[()] = time
            finite = time < float("inf")
            with code.when(finite):
                ws.call(code, jump_shrinking if shrinks else jump_to_time)
            with code.when(~finite):
                ws.call(code, limit_shrinking if shrinks else limit)
            observer.observe(code, ws)
            row = out.vectors(index * len(outputs), (len(outputs),))
            for column, output in enumerate(outputs):
                row[column] = ws.outputs[output]


@jit
def _observe(
    sizes: Form,
    outputs: CompileTime,
    shrinks: CompileTime,
    work: Array,
    shrinkage: float,
    lam: Array,
    floor: Array,
    s: Array,
    q0: Array,
    times: Array,
    out: Array,
) -> None:
    for group in range(len(lam)):
        _observe_vector(
            sizes,
            outputs,
            shrinks,
            work,
            shrinkage,
            lam[group],
            floor[group],
            s[group],
            q0[group],
            times,
            out[group],
        )


def prepare(
    sizes: UnreducedSizes,
    outputs: tuple[int, ...],
    lam: Array,
    floor: Array,
    s: Array,
    q0: Array,
    times: Array,
    shrinkage: float,
) -> Call:
    """Return the call that writes the outputs of networks with given starts (see `dispatch.observe`)."""
    out, work = np.empty((len(lam), times.size, len(outputs), WIDTH)), Dynamics.allocate(sizes)
    known = (form(sizes, Dynamics), CompileTime(outputs), CompileTime(shrinkage > 0.0))
    return Call(_observe, (*known, work, float(shrinkage), lam, floor, s, q0, times, out))
