"""Networks: two weight matrices and how they are balanced."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlin.architecture import Architecture
from fastlin.errors import InputError, SaddleWarning
from fastlin.kernels.compiler.jit import Array
from fastlin.solvers import EXACT, MAX_TOLERANCE, MIN_TOLERANCE, TOLERANCE
from fastlin.tasks.task import Task, check_fits, check_whole
from fastlin.validation import check_array, check_float, check_times
from fastlin.weights.balance import BalanceKind, balance_of, one_sided_kind, scaled
from fastlin.weights.fit import Fit, fit_balance, narrow


class Network:
    """A two-layer linear network ``y = W2 W1 x`` at initialisation.

    Parameters
    ----------
    w1 : array_like, (N_h, N_i)
        Input weights.
    w2 : array_like, (N_o, N_h)
        Output weights.
    lam, kappa : float, optional
        The balance. By default it is determined from the weights.

    Attributes
    ----------
    w1, w2 : ndarray
        The weights.
    lam : float
        Relative scale of the layers, or NaN where the weights have no balance.
    kappa : float
        Width of the balance, ``Q (D - lam I) Q^T = -kappa^2 J`` with ``D = W2^T W2 - W1 W1^T`` and
        ``J = diag(I, -I)``. It is 0 for "strict" and "support", and NaN where the weights have no balance.
    balance : {"strict", "support", "two-sided", "none"}
        "strict" if ``D = lam I``, "support" if that holds on the support of Q, "two-sided" if kappa > 0,
        and "none" otherwise. The closed form takes all but "none".

    Raises
    ------
    InputError
        If shapes do not fit, entries are not finite, or a given balance is not that of the weights.

    Examples
    --------
    >>> fl.Network([[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 2.0]])
    <square Network 2-2-2 (N_i-N_h-N_o), lam 3, balance 'strict'>
    >>> fl.Network([[1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0], [0.0, 1.0]]).balance
    'none'
    """

    def __init__(
        self, w1: ArrayLike, w2: ArrayLike, lam: float | None = None, kappa: float | None = None
    ) -> None:
        self.w1, self.w2 = check_array("w1", w1, "(N_h, N_i)"), check_array("w2", w2, "(N_o, N_h)")
        if self.w1.shape[0] != self.w2.shape[1]:
            raise InputError(
                f"w1 {self.w1.shape} and w2 {self.w2.shape} disagree on N_h; "
                "needed are (N_h, N_i) and (N_o, N_h)"
            )
        self.balance: BalanceKind
        weights = scaled(self.w1, self.w2)
        try:
            self.lam, self.kappa = balance_of(weights, lam, kappa)
        except InputError:
            if lam is not None or kappa is not None:
                raise
            self.lam, self.kappa, self.balance = float("nan"), float("nan"), "none"
            return
        self.balance = "two-sided" if self.kappa > 0.0 else one_sided_kind(weights, self.lam)

    @classmethod
    def known(cls, w1: Array, w2: Array, lam: float, kappa: float, balance: Any) -> Network:
        """Return a network whose balance was determined before, such as one of a stack. Nothing is checked.

        Parameters
        ----------
        w1, w2 : ndarray, (N_h, N_i) and (N_o, N_h)
            The weights.
        lam, kappa : float
            Their balance.
        balance : str
            Its kind, as in the attribute `balance`.

        Returns
        -------
        Network

        Examples
        --------
        >>> fl.Network.known(np.eye(2), 2.0 * np.eye(2), lam=3.0, kappa=0.0, balance="strict")
        <square Network 2-2-2 (N_i-N_h-N_o), lam 3, balance 'strict'>
        """
        net = cls.__new__(cls)
        net.w1, net.w2, net.lam, net.kappa, net.balance = w1, w2, lam, kappa, balance
        return net

    def __repr__(self) -> str:
        shape = self.architecture
        if self.balance == "none":
            fit = self.fit()
            numbers = f"fitted lam {fit.lam:g}, kappa {fit.kappa:g}, residual {fit.residual:.1e}"
        else:
            numbers = f"lam {self.lam:g}" + (f", kappa {self.kappa:g}" if self.kappa > 0.0 else "")
        return f"<{shape.family} Network {shape} (N_i-N_h-N_o), {numbers}, balance {self.balance!r}>"

    @property
    def architecture(self) -> Architecture:
        """Sizes of the network."""
        return Architecture(self.w1.shape[1], self.w1.shape[0], self.w2.shape[0])

    def fit(self) -> Fit:
        """Return the balance that is nearest to the weights, and how far they are from it.

        Returns
        -------
        Fit
            ``lam`` and ``kappa`` in the unit of squared weights, the least squares of ``Q (D - lam I) Q^T =
            -kappa^2 J``, and ``residual``, its norm over ``|Q|^4``. kappa is 0 where N_h < N_i + N_o.

        See Also
        --------
        balanced_init : with ``lam``, ``kappa`` and ``weights=(w1, w2)`` it gives the network of this balance.

        Notes
        -----
        Wide Gaussian networks have a residual that falls like 1 / sqrt(N_h). Where one layer is much larger,
        as in a wide network from the default of PyTorch, kappa is small beside abs(lam), and its fit is
        uncertain.

        Examples
        --------
        >>> net = fl.balanced_init(fl.Architecture(2, 6, 2), lam=0.5, kappa=1.0)
        >>> lam, kappa, residual = net.fit()
        >>> round(lam, 9), round(kappa, 9), residual < 1e-12
        (0.5, 1.0, True)
        """
        q = narrow(np.concatenate([self.w1.T, self.w2]))
        return Fit(*(float(value) for value in fit_balance(q, self.w1.shape[1], self.w1.shape[0])))

    def after(self, task: Task, t: float, *, tolerance: float = TOLERANCE) -> Network:
        """Return the network after it has learned a task for a time.

        Parameters
        ----------
        task : Task
            Inputs of any kind.
        t : float
            t / tau >= 0. inf is allowed where `exact` or `flow` allows it.
        tolerance : float
            Error of a step where the flow is integrated, relative to the norm of the weights.

        Returns
        -------
        Network
            With the lam and kappa of this network, which the flow conserves: the same numbers, not read off
            again. The weights are exact to rounding where the closed form holds: for balanced weights and
            inputs that are not "general". Otherwise the flow is integrated, and the balance ``D = W2^T W2 -
            W1 W1^T`` of the start is restored to rounding.

        Raises
        ------
        InputError
            If sizes do not fit, t is negative, or inf has no known limit.

        Warns
        -----
        SaddleWarning
            If t = inf and the flow ends at a saddle.

        See Also
        --------
        sequence : several tasks in a row, with all observables.

        Notes
        -----
        The closed form gives QQ^T, and no closed form is known for the hidden basis. The weights are the
        factor of QQ^T with the same D that is nearest to the weights of this network. These are the weights
        of the flow for N_h = 1 and for weights aligned with the task. Otherwise they differ from those of the
        flow by a rotation of hidden units, which neither the network function nor any observable of this
        package depends on, now or later. Integrated weights are those of the flow.

        Examples
        --------
        >>> net = fl.balanced_init(fl.Architecture(3, 4, 2), lam=-1.0)
        >>> task = fl.random_regression(fl.Architecture(3, 4, 2), n_samples=10)
        >>> end = net.after(task, np.inf)
        >>> end.lam, bool(np.allclose(end.w2 @ end.w1, task.sigma_yx))
        (-1.0, True)
        """
        from fastlin.weights.carried import carry, in_basis_of  # solvers, which sweeps do not need
        from fastlin.weights.solve import AT_SADDLE

        check_fits(task, self.architecture)
        check_whole(task)
        moment = check_times(t)
        step = check_float("tolerance", tolerance, MIN_TOLERANCE, MAX_TOLERANCE)
        if moment.size != 1:
            raise InputError(f"t holds {moment.size} times; needed is one")
        if moment[0] == 0.0:
            return self
        carried = carry(task, self, float(moment[0]), step)
        if carried.saddle and np.isinf(moment[0]):
            warnings.warn(f"at t = inf {AT_SADDLE}", SaddleWarning, stacklevel=2)
        w1, w2 = carried.w1, carried.w2
        if carried.solver == EXACT.name:
            start = np.concatenate([self.w1.T, self.w2])
            q = in_basis_of(np.concatenate([w1.T, w2]), start, task.n_i, self.kappa)
            w1, w2 = q[: task.n_i].T, q[task.n_i :]
        return self.with_weights(w1, w2)

    def with_weights(self, w1: Array, w2: Array) -> Network:
        """Return a network of other weights with the balance of this one, the same lam and kappa.

        Parameters
        ----------
        w1, w2 : ndarray, (N_h, N_i) and (N_o, N_h)
            The weights.

        Returns
        -------
        Network

        Raises
        ------
        InputError
            If the weights do not have this balance.

        Examples
        --------
        >>> net = fl.balanced_init(fl.Architecture(4, 2, 4), lam=-1.0)
        >>> turn = np.array([[0.0, 1.0], [-1.0, 0.0]])  # a rotation of hidden units
        >>> net.with_weights(turn @ net.w1, net.w2 @ turn.T)
        <bottleneck Network 4-2-4 (N_i-N_h-N_o), lam -1, balance 'strict'>
        """
        return Network(w1, w2) if self.balance == "none" else Network(w1, w2, self.lam, self.kappa)
