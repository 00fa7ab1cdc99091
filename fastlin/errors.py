"""Errors and warnings. A message names the fault, its place, and the allowed values."""

# End of the message of a run that was stopped.
CONTINUE = "what is complete stays, run the same command again to go on"


class InputError(ValueError):
    """An argument, an option, a file or a spec is not usable. The message has one line for each fault.

    Commands print the message and exit with code 2.

    Examples
    --------
    >>> fl.Task.from_sigma(np.eye(2), floor=-1.0)
    Traceback (most recent call last):
    ...
    fastlin.errors.InputError: floor is -1; it must be at least 0 and at most 1e+128
    """


class StoppedError(RuntimeError):
    """A run was stopped. Its complete blocks stay in the store, and the message says how to continue.

    `run_sweep`, `merge_sweeps` and the commands raise it where the fault is not in the input: if another run
    writes to the store, the scheduler or all workers are gone, or this machine cannot compute. Commands exit
    with code 1.

    Examples
    --------
    >>> try:
    ...     report = fl.run_sweep(fl.open_sweep("small.zarr").attrs["spec"], "small.zarr")
    ... except fl.StoppedError as stop:
    ...     print(f"run it again later: {stop}")
    """


class SaddleWarning(UserWarning):
    """The flow ends at a saddle, so that the limit t = inf is not the global minimum of its rank.

    `exact`, `flow`, `sequence`, `solve_qqt` and `Network.after` warn. A sweep does not, so that its means are
    over networks of both kinds.

    Examples
    --------
    >>> import warnings
    >>> task = fl.Task.from_sigma(np.eye(2))
    >>> net = fl.Network(np.eye(2), np.diag([1.0, -1.0]))  # the second mode has the wrong sign for ever
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     loss = fl.exact(task, net, [np.inf], ["loss"]).loss.item()
    >>> loss, caught[0].category
    (0.5, <class 'fastlin.errors.SaddleWarning'>)
    """


class MeanWarning(UserWarning):
    """The data of a task have a large mean, and the network has no bias that could learn it.

    `Task` and `autoencoder` warn. ``center=True`` subtracts the means.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     task = fl.Task([[9.0, 10.0, 11.0, 10.0]], [[1.0, 2.0, 3.0, 2.0]])
    >>> caught[0].category
    <class 'fastlin.errors.MeanWarning'>
    >>> fl.Task([[9.0, 10.0, 11.0, 10.0]], [[1.0, 2.0, 3.0, 2.0]], center=True)
    <Task of 1 inputs (isotropic, variance 0.5), 1 outputs, 4 samples>
    """


class DamageWarning(UserWarning):
    """Chunks of a store are lost. Their points read as NaN, although their status says that they are done.

    `open_sweep` warns. ``fastlin repair`` computes the lost chunks again.

    Examples
    --------
    >>> import os, shutil, warnings
    >>> copy = shutil.copytree("small.zarr", "damaged.zarr")
    >>> os.remove("damaged.zarr/loss/c.0.0.0.0.0")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     ds = fl.open_sweep("damaged.zarr")
    >>> caught[0].category
    <class 'fastlin.errors.DamageWarning'>
    """
