"""The substitution that brings rates, scaled inputs, dependent inputs and adapters to the plain flow.

``W1' = e1 W2^T E``, ``W2' = e2 E W1^T``, ``E = Sigma_yx - W2 W1 Sigma_xx`` with ``Sigma_xx = c V V^T`` is the
flow of ``U1 = sqrt(e2 c) W1 V`` and ``U2 = sqrt(e1 c) W2`` with equal rates, whitened inputs and the target
``sqrt(e1 e2) Sigma_yx V``, in the same time. A network of the function ``W0 + g W2 W1`` is one of ``W2 W1``
on inputs g X and targets Y - W0 X, so that its U are g times as large.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastlin.adapted_task import residual_task
from fastlin.balance import Balance, checked_balance
from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.tolerances import ROUNDING
from fastlin.rates import Rates
from fastlin.task import Task

if TYPE_CHECKING:
    from fastlin.network import Network


class Weights(NamedTuple):
    """Weights of which nothing else is known."""

    w1: Array  # (N_h, N_i)
    w2: Array  # (N_o, N_h)


class Canonical(NamedTuple):
    """A network that follows the plain flow, and the way back."""

    sigma_yx: Array  # (N_o, r), r dimensions of the inputs
    w1: Array  # (N_h, r)
    w2: Array  # (N_o, N_h)
    back: Array  # (N, r + N_o), which turns Q of this network into that of the weights on the span of inputs
    frozen: Array  # (N_h, N_i) part of W1 off the span of the inputs, which does not learn

    def balance(self, task: Task, net: Network, rates: Rates) -> Balance:
        """Return the balance of the substituted weights: that of the network where only units differ.

        Raises
        ------
        InputError
            If they have none.
        """
        left = residual_task(task)
        if rates.first == rates.second and left.span.shape[1] == left.n_i and net.balance != "none":
            unit = rates.first * left.variance
            return Balance(unit * net.lam, unit * net.kappa)
        return checked_balance(self.w1, self.w2)

    def qqt(self, qqt: Array) -> Array:
        """Return QQ^T of the weights (..., N, N) from that of the substituted weights.

        The part of W1 off the span is left out, because its products with the rest depend on the hidden
        basis, which QQ^T does not have. A single hidden unit has no such basis: with ``q = QQ^T q_0 /
        sqrt(q_0^T QQ^T q_0)`` all of W1 is there.
        """
        if not self.completes:
            return np.asarray(self.back @ qqt @ self.back.T)
        q0 = np.concatenate([self.w1.T, self.w2])[:, 0]
        along = qqt @ q0
        size = np.sqrt(along @ q0)
        q = along / np.where(size > 0.0, size, 1.0)[..., None] @ self.back.T
        q[..., : self.frozen.shape[1]] += self.frozen[0]
        return np.asarray(q[..., :, None] * q[..., None, :])

    @property
    def completes(self) -> bool:
        """Whether QQ^T of the weights has the part of W1 off the span: that of a single hidden unit."""
        return self.has_frozen_part and len(self.w1) == 1

    @property
    def has_frozen_part(self) -> bool:
        """Whether W1 has a part off the span of the inputs that is more than rounding."""
        size = np.abs(self.frozen).max()
        return bool(size > ROUNDING * max(size, np.abs(self.w1).max() * np.abs(self.back).max()))


def substitute(task: Task, net: Network | Weights, rates: Rates) -> Canonical:
    """Return the network that follows the plain flow.

    Raises
    ------
    InputError
        If the inputs are neither whitened nor a multiple of a projector.
    """
    task = residual_task(task)
    if task.inputs == "general":
        raise InputError(
            "the closed form needs inputs with X X^T / P = c I, or c times a projector (otherwise the flow "
            "is no Riccati equation); use fastlin.flow, which takes any X (task.whiten() changes the problem)"
        )
    c, span = task.variance, task.span
    scale1, scale2 = math.sqrt(rates.second * c), math.sqrt(rates.first * c)
    on_span = net.w1 @ span
    frozen = net.w1 - on_span @ span.T if span.shape[1] < task.n_i else np.zeros_like(net.w1)
    back = np.zeros((task.n_i + task.n_o, span.shape[1] + task.n_o))
    back[: task.n_i, : span.shape[1]] = span / scale1
    back[task.n_i :, span.shape[1] :] = np.eye(task.n_o) / scale2
    sigma = rates.unit * (task.sigma_yx @ span)
    return Canonical(sigma, scale1 * on_span, scale2 * net.w2, back, frozen)
