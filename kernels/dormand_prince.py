"""The method DOP853 of Dormand and Prince: its coefficients, and the rule of its step size.

It has 12 stages and order 8. Source: E. Hairer, S. P. Norsett and G. Wanner, Solving Ordinary Differential
Equations I, 2nd edition, Springer 1993, section II.5, and the program that belongs to it. The flow does not
depend on the time, so the nodes are left out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastlin.kernels.batch import FlowControl
from fastlin.kernels.codes import Status
from fastlin.kernels.compiler.callee import callee
from fastlin.kernels.compiler.jit import Array, Integers

# Coefficients of the derivatives k_j, by j, in the state at which each stage is evaluated.
STAGES: tuple[dict[int, float], ...] = (
    {},
    {0: 5.26001519587677318785587544488e-2},
    {0: 1.97250569845378994544595329183e-2, 1: 5.91751709536136983633785987549e-2},
    {0: 2.95875854768068491816892993775e-2, 2: 8.87627564304205475450678981324e-2},
    {
        0: 2.41365134159266685502369798665e-1,
        2: -8.84549479328286085344864962717e-1,
        3: 9.24834003261792003115737966543e-1,
    },
    {
        0: 3.7037037037037037037037037037e-2,
        3: 1.70828608729473871279604482173e-1,
        4: 1.25467687566822425016691814123e-1,
    },
    {
        0: 3.7109375e-2,
        3: 1.70252211019544039314978060272e-1,
        4: 6.02165389804559606850219397283e-2,
        5: -1.7578125e-2,
    },
    {
        0: 3.70920001185047927108779319836e-2,
        3: 1.70383925712239993810214054705e-1,
        4: 1.07262030446373284651809199168e-1,
        5: -1.53194377486244017527936158236e-2,
        6: 8.27378916381402288758473766002e-3,
    },
    {
        0: 6.24110958716075717114429577812e-1,
        3: -3.36089262944694129406857109825,
        4: -8.68219346841726006818189891453e-1,
        5: 2.75920996994467083049415600797e1,
        6: 2.01540675504778934086186788979e1,
        7: -4.34898841810699588477366255144e1,
    },
    {
        0: 4.77662536438264365890433908527e-1,
        3: -2.48811461997166764192642586468,
        4: -5.90290826836842996371446475743e-1,
        5: 2.12300514481811942347288949897e1,
        6: 1.52792336328824235832596922938e1,
        7: -3.32882109689848629194453265587e1,
        8: -2.03312017085086261358222928593e-2,
    },
    {
        0: -9.3714243008598732571704021658e-1,
        3: 5.18637242884406370830023853209,
        4: 1.09143734899672957818500254654,
        5: -8.14978701074692612513997267357,
        6: -1.85200656599969598641566180701e1,
        7: 2.27394870993505042818970056734e1,
        8: 2.49360555267965238987089396762,
        9: -3.0467644718982195003823669022,
    },
    {
        0: 2.27331014751653820792359768449,
        3: -1.05344954667372501984066689879e1,
        4: -2.00087205822486249909675718444,
        5: -1.79589318631187989172765950534e1,
        6: 2.79488845294199600508499808837e1,
        7: -2.85899827713502369474065508674,
        8: -8.87285693353062954433549289258,
        9: 1.23605671757943030647266201528e1,
        10: 6.43392746015763530355970484046e-1,
    },
)

# The new state of order 8.
WEIGHTS: dict[int, float] = {
    0: 5.42937341165687622380535766363e-2,
    5: 4.45031289275240888144113950566,
    6: 1.89151789931450038304281599044,
    7: -5.8012039600105847814672114227,
    8: 3.1116436695781989440891606237e-1,
    9: -1.52160949662516078556178806805e-1,
    10: 2.01365400804030348374776537501e-1,
    11: 4.47106157277725905176885569043e-2,
}

# The estimates of the error: by a formula of order 5, and by one of order 3 that has other weights of three
# derivatives. The second is the new state less that of order 3.
ERROR_5: dict[int, float] = {
    0: 0.1312004499419488073250102996e-1,
    5: -0.1225156446376204440720569753e1,
    6: -0.4957589496572501915214079952,
    7: 0.1664377182454986536961530415e1,
    8: -0.3503288487499736816886487290,
    9: 0.3341791187130174790297318841,
    10: 0.8192320648511571246570742613e-1,
    11: -0.2235530786388629525884427845e-1,
}
WEIGHTS_3: dict[int, float] = {
    0: 0.244094488188976377952755905512,
    8: 0.733846688281611857341361741547,
    11: 0.220588235294117647058823529412e-1,
}

ORDER = 8

# The rule of the step size. The error of a step is h n5 / sqrt(n5 + n3 / 100), where n5 and n3 are the
# squared norms of both estimates divided by h. A step is repeated if this exceeds `tolerance` |Q|. Steps do
# not grow right after that.
SHARE_3 = 0.01
SAFETY, LEAST_FACTOR, LARGEST_FACTOR = 0.9, 0.2, 5.0

# The first step is this divided by the rate at which weights change, |Q|^2 plus the largest singular value of
# the target, or by `SLOWEST` where nothing changes.
FIRST, SLOWEST = 0.05, 1e-3

TINY = 1e-300  # keeps 0 / 0 away


def _rows(rows: tuple[dict[int, float], ...]) -> Array:
    table = np.zeros((len(rows), len(STAGES)))
    for row, coefficients in enumerate(rows):
        table[row, list(coefficients)] = list(coefficients.values())
    return table


# The same numbers as arrays, with a column for each derivative.
_STAGE_ROWS = _rows(STAGES)  # (12, 12)
_NEW, _ERROR_5, _NEW_3 = _rows((WEIGHTS, ERROR_5, WEIGHTS_3))  # (12,) each
_ERROR_3 = _NEW - _NEW_3

_CHUNK = 1024  # numbers of a state that stay in the cache while derivatives are added to them


def estimated_steps(curvature: Any, time: Any, tolerance: float) -> Any:
    """Estimate the steps of the flow, for numbers or arrays.

    An explicit step is at most about 6.4 / curvature, where the curvature is the largest rate |W1|^2 + |W2|^2
    of spectral norms. Before that limits it, while weights change, the error does. Constants were fitted to
    10 architectures of 2 to 100 units at tolerances of 1e-6 to 1e-12, from t = 1 to 1000. Most estimates are
    within a factor of two.
    """
    distance = curvature * np.asarray(time, dtype=np.float64)
    changing = np.minimum(100.0, 5.0 * np.sqrt(distance)) * (1e-9 / tolerance) ** (1.0 / ORDER)
    return 1.0 + distance / 6.4 + changing


class Progress(NamedTuple):
    """A run of one network: the arrays of a step of its state (L,), and the step size."""

    state: Array  # (L,)
    derivatives: Array  # (12, L)
    trial: Array  # (L,) the state of a stage, then the new state
    clock: Array  # (3,) the time, the next step, and the largest factor by which that may grow
    counts: Integers  # (2,) steps, repeated ones included, and accepted ones


def progress(length: int) -> Progress:
    """Return the arrays for a state of so many numbers."""
    derivatives = np.zeros((len(STAGES), length))
    return Progress(np.zeros(length), derivatives, np.zeros(length), np.zeros(3), np.zeros(2, np.int64))


@callee
def begin(run: Progress, curvature: float) -> None:
    """Set t = 0 and the first step, from the rate at which weights change."""
    run.clock[0], run.clock[1], run.clock[2] = 0.0, FIRST / (curvature + SLOWEST), LARGEST_FACTOR
    run.counts[0], run.counts[1] = 0, 0


@callee
def _add(coefficients: Array, scale: float, derivatives: Array, out: Array) -> None:
    """Add a linear combination of derivatives (12, L) to `out` (L,)."""
    for first in range(0, out.size, _CHUNK):
        last = min(first + _CHUNK, out.size)
        for stage in range(coefficients.size):
            factor = scale * coefficients[stage]
            if factor != 0.0:
                for i in range(first, last):
                    out[i] += factor * derivatives[stage, i]


@callee
def _square(x: Array) -> float:
    total = 0.0
    for value in x:
        total += value * value
    return total


@callee
def _relative_error(run: Progress, step: float) -> float:
    """Return the error of a step over the norm of the state, with unused derivatives as scratch."""
    error_5, error_3 = run.derivatives[1], run.derivatives[2]
    error_5[:] = 0.0
    error_3[:] = 0.0
    _add(_ERROR_5, 1.0, run.derivatives, error_5)
    _add(_ERROR_3, 1.0, run.derivatives, error_3)
    n_5, n_3 = _square(error_5), _square(error_3)
    if not n_3 < np.inf:
        return np.inf
    size = np.sqrt(_square(run.state))
    return float(step * n_5 / (np.sqrt(n_5 + SHARE_3 * n_3) * size + TINY))


def stepper(derivative: Callable[[Any, Array, Array], None]) -> Callable[..., int]:
    """Return compiled code that integrates ``derivative(problem, state, out)`` to a time."""

    @callee
    def propose(problem: Any, run: Progress, step: float) -> None:
        """Write the state after a step to `trial`."""
        for stage in range(len(_STAGE_ROWS)):
            run.trial[:] = run.state
            _add(_STAGE_ROWS[stage, :stage], step, run.derivatives, run.trial)
            derivative(problem, run.trial, run.derivatives[stage])
        run.trial[:] = run.state
        _add(_NEW, step, run.derivatives, run.trial)

    @callee
    def reach(problem: Any, run: Progress, target: float, control: FlowControl) -> int:
        """Bring the state to the time `target`, and return a `Status`."""
        while run.clock[0] < target:
            time, longest = run.clock[0], run.clock[1]
            rest = target - time
            last = longest >= rest
            step = rest if last else longest
            if not (step < np.inf and _square(run.state) < np.inf):
                return Status.FAILED
            if run.counts[0] >= control.max_steps or not time + longest > time:
                return Status.TOO_STIFF
            propose(problem, run, step)
            ratio = _relative_error(run, step) / control.tolerance
            factor = LEAST_FACTOR
            if ratio < np.inf:
                factor = SAFETY * max(ratio, TINY) ** (-1.0 / ORDER)
                factor = min(max(factor, LEAST_FACTOR), run.clock[2])
            run.counts[0] += 1
            run.clock[1], run.clock[2] = factor * step, 1.0
            if ratio <= 1.0:
                run.counts[1] += 1
                run.clock[2] = LARGEST_FACTOR
                run.clock[0] = target if last else time + step
                run.state[:] = run.trial
                if last and factor >= 1.0:  # a step that was cut short tells little of the next one
                    run.clock[1] = max(longest, factor * step)
        return Status.OK

    return reach
