"""Errors and warnings, whose messages say what is wrong, where, and what is allowed."""


class InputError(ValueError):
    """Something that was given is not usable; the message is one line and meant for its author."""


class StoppedError(RuntimeError):
    """A run ended before its time; what is done stays, and the message says how to go on."""


class SaddleWarning(UserWarning):
    """The flow from this start ends at a saddle: t = inf is not the global minimum of its rank."""
