"""Codes that kernels and their callers share: the status of a point, and the outputs of a kernel."""

from enum import IntEnum


class Status(IntEnum):
    """State of one point of a sweep."""

    PENDING = 0
    OK = 1
    DIVERGED = 2
    FAILED = 3


class Output(IntEnum):
    """A number per network and time."""

    LOSS = 0
    KERNEL_DISTANCE = 1
    NTK_NORM = 2
    W1_NORM = 3
    W2_NORM = 4
    BALANCE_DRIFT = 5
    EFFECTIVE_RANK = 6


class Scale(IntEnum):
    """A number per network: a time scale of its exact flow."""

    CONVERGENCE = 0
    ROTATION = 1
    ESCAPE = 2
