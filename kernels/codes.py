"""Codes that kernels and their callers share: the status of a point, its start, the outputs of a kernel."""

from enum import IntEnum


class Status(IntEnum):
    """State of one point of a sweep."""

    PENDING = 0
    OK = 1
    DIVERGED = 2
    FAILED = 3
    TOO_STIFF = 4  # the flow needs more steps than are allowed
    ABSENT = 5  # no such network exists: kappa > 0 with N_h < N_i + N_o


class Start(IntEnum):
    """The way in which the record of a problem gives the start Q(0)."""

    BALANCED = 0  # Algorithm 1: lam, kappa = 0
    TWO_SIDED = 1  # lam and kappa > 0, which needs N_h >= N_i + N_o
    RAW = 2  # the record holds Q(0) itself
    INPUTS = 3  # an `InputsRecord`: Q(0) itself, and a task with inputs that are not whitened


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
