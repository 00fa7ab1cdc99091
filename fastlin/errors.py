"""Errors and warnings. A message names the fault, its place, and the allowed values."""

# End of the message of a run that was stopped.
CONTINUE = "what is complete stays, run the same command again to go on"


class InputError(ValueError):
    """An argument, an option, a file or a spec is not usable. The message has one line for each fault."""


class StoppedError(RuntimeError):
    """A run was stopped. Its complete blocks stay in the store, and the message says how to continue."""


class SaddleWarning(UserWarning):
    """The flow ends at a saddle, so that the limit t = inf is not the global minimum of its rank."""


class MeanWarning(UserWarning):
    """The data of a task have a large mean, and the network has no bias that could learn it."""


class DamageWarning(UserWarning):
    """Chunks of a store are lost. Their points read as NaN, although their status says that they are done."""
