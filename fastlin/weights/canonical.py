"""The substitution that brings rates, scaled inputs, dependent inputs and adapters to the plain flow.

``W1' = e1 W2^T E``, ``W2' = e2 E W1^T``, ``E = Sigma_yx - W2 W1 Sigma_xx`` with ``Sigma_xx = c V V^T`` is the
flow of ``U1 = sqrt(e2 c) W1 V`` and ``U2 = sqrt(e1 c) W2`` with equal rates, whitened inputs and the target
``sqrt(e1 e2) Sigma_yx V``, in the same time. A network of the function ``W0 + g W2 W1`` is one of ``W2 W1``
on inputs g X and targets Y - W0 X, so that its U are g times as large.

Leading dimensions (...) are those of a stack of networks. One network has none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kernels.tolerances import ROUNDING
from fastlin.tasks.adapted import residual_task
from fastlin.tasks.task import Task
from fastlin.weights.balance import Balance, checked_balance
from fastlin.weights.rates import Rates

if TYPE_CHECKING:
    from fastlin.networks.network import Network


class Weights(NamedTuple):
    """Weights of which nothing else is known."""

    w1: Array  # (N_h, N_i)
    w2: Array  # (N_o, N_h)


class Canonical(NamedTuple):
    """Networks that follow the plain flow, and the way back."""

    sigma_yx: Array  # (..., N_o, r), r dimensions of the inputs
    w1: Array  # (..., N_h, r)
    w2: Array  # (..., N_o, N_h)
    back: Array  # (..., N, r + N_o) turns Q of this network into that of the weights on the span of inputs
    frozen: Array  # (..., N_h, N_i) part of W1 off the span of the inputs, which does not learn

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
        """Return QQ^T of the weights (..., T, N, N) from that of the substituted weights.

        The part of W1 off the span is left out, because its products with the rest depend on the hidden
        basis, which QQ^T does not have. A single hidden unit has no such basis: with ``q = QQ^T q_0 /
        sqrt(q_0^T QQ^T q_0)`` all of W1 is there. All networks of a stack have to complete, or none.
        """
        back = self.back[..., None, :, :]
        if not np.all(self.completes):
            return np.asarray(back @ qqt @ np.swapaxes(back, -1, -2))
        q0 = np.concatenate([np.swapaxes(self.w1, -1, -2), self.w2], axis=-2)
        along = (qqt @ q0[..., None, :, :])[..., 0]
        size = np.sqrt(along @ q0)
        q = along / np.where(size > 0.0, size, 1.0) @ np.swapaxes(self.back, -1, -2)
        q[..., : self.frozen.shape[-1]] += self.frozen
        return np.asarray(q[..., :, None] * q[..., None, :])

    @property
    def completes(self) -> Any:
        """Whether QQ^T of the weights (...) has the part of W1 off the span: that of a single hidden unit."""
        return self.has_frozen_part & (self.w1.shape[-2] == 1)

    @property
    def has_frozen_part(self) -> Any:
        """Whether W1 (...) has a part off the span of the inputs that is more than rounding."""
        size, w1, back = (np.abs(part).max(axis=(-2, -1)) for part in (self.frozen, self.w1, self.back))
        return size > ROUNDING * np.maximum(size, w1 * back)


class Substitution(NamedTuple):
    """The substitution that belongs to tasks (...) and learning rates."""

    sigma_yx: Array  # (..., N_o, r)
    span: Array  # (..., N_i, r)
    scale1: Any  # (...) factor of W1
    scale2: Any  # (...) factor of W2

    @classmethod
    def of(cls, task: Task, rates: Rates) -> Substitution:
        """Return the substitution of one task.

        Raises
        ------
        InputError
            If the inputs are neither whitened nor a multiple of a projector.
        """
        task = residual_task(task)
        if task.inputs == "general":
            raise InputError(
                "the closed form needs inputs with X X^T / P = c I, or c times a projector (otherwise the "
                "flow is no Riccati equation); use fastlin.flow, which takes any X (task.whiten() changes "
                "the problem)"
            )
        scale1, scale2 = math.sqrt(rates.second * task.variance), math.sqrt(rates.first * task.variance)
        return cls(rates.unit * (task.sigma_yx @ task.span), task.span, scale1, scale2)

    @classmethod
    def of_many(cls, substitutions: Sequence[Substitution], index: Integers) -> Substitution:
        """Return the substitutions (...) of networks, of which `index` (...) gives the task."""
        return cls(
            *(
                np.stack([np.asarray(part) for part in parts])[index]
                for parts in zip(*substitutions, strict=True)
            )
        )

    def apply(self, w1: Array, w2: Array) -> Canonical:
        """Return the networks of weights (..., N_h, N_i) and (..., N_o, N_h) that follow the plain flow."""
        n_i, r = self.span.shape[-2:]
        n_o = w2.shape[-2]
        on_span = w1 @ self.span
        frozen = np.broadcast_to(0.0, w1.shape)
        if r < n_i:
            frozen = w1 - on_span @ np.swapaxes(self.span, -1, -2)
        scale1, scale2 = np.asarray(self.scale1)[..., None, None], np.asarray(self.scale2)[..., None, None]
        back = np.zeros((*self.span.shape[:-2], n_i + n_o, r + n_o))
        back[..., :n_i, :r] = self.span / scale1
        back[..., n_i:, r:] = np.eye(n_o) / scale2
        return Canonical(self.sigma_yx, scale1 * on_span, scale2 * w2, back, frozen)


def substitute(task: Task, net: Network | Weights, rates: Rates) -> Canonical:
    """Return the network that follows the plain flow (see `Substitution.of`)."""
    return Substitution.of(task, rates).apply(net.w1, net.w2)
