"""Parameters of the kinds "data" and "weights": files or objects of the user, read and kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any

import numpy as np

from fastlin.dimensions import Stacked
from fastlin.errors import InputError, MeanWarning
from fastlin.kinds.data_files import FORMS, Labels, Matrix, digest, read_labels, read_matrix
from fastlin.kinds.own_data import OwnItems, OwnNetwork, OwnTask
from fastlin.kinds.parameters import Parameter
from fastlin.networks.network import Network
from fastlin.tasks.task import Task
from fastlin.validation import check_bool, check_choice, shown

Values = Mapping[str, Any]
SAMPLES = ("columns", "rows")
_KEPT = "numbers and hashes, which a spec in a store has instead of files"


def resolve_data(section: str, values: Values, folder: Path) -> dict[str, Any]:
    """Return the parameters of a kind "data" with the tasks in place of files.

    Parameters
    ----------
    section : str
        Name of the section, for messages.
    values : mapping
        The parameters as read.
    folder : Path
        The folder of the spec, to which paths are relative.

    Returns
    -------
    dict
        "data", the tasks, and "task", the name of the one or an array of names on the axis.

    Raises
    ------
    InputError
        If files cannot be read, or do not fit each other.
    """

    def made(name: str | int, x: Matrix, y: Matrix, labels: Labels | None = None) -> OwnTask:
        return _task_of_files(section, name, x, y, labels, values)

    data = _given_or_read(section, values, ("x", "y"), folder, made, {"labels": read_labels})
    return {"data": data, "task": data.names}


def resolve_weights(section: str, values: Values, folder: Path) -> dict[str, Any]:
    """Return the parameters of a kind "weights" with the networks in place of files, see `resolve_data`."""

    def made(name: str | int, w1: Matrix, w2: Matrix) -> OwnNetwork:
        return _network_of_files(section, name, w1, w2)

    data = _given_or_read(section, values, ("w1", "w2"), folder, made)
    return {"data": data, "network": data.names}


def _given_or_read(
    section: str,
    values: Values,
    keys: tuple[str, str],
    folder: Path,
    made: Callable[..., Any],
    more: Mapping[str, Callable[..., Any]] = MappingProxyType({}),
) -> OwnItems[Any]:
    """Return the items that are given, or those made of two matrices each, in files.

    `more` has functions that read other files, by the keys that may name them.
    """
    readers = dict.fromkeys(keys, read_matrix) | dict(more)
    files = {key: values[key] for key in readers if values[key] is not None}
    if values["data"] is not None:
        if files:
            raise InputError(f"{section}.data and {section}.{next(iter(files))} are given; give one of them")
        given: OwnItems[Any] = values["data"]
        return given
    if missing := [key for key in keys if key not in files]:
        raise InputError(f"{section}.{missing[0]} is missing; needed is {FORMS}")
    axis = any(isinstance(files[key], list) for key in keys)
    for key in more:
        if not axis and isinstance(files.get(key), list):
            raise InputError(
                f"{section}.{key} is a list, and {section}.{' and '.join(keys)} are one file each; needed is "
                "one file"
            )
    listed = _of_one_length(section, files)
    first, second = (listed[key] for key in keys)
    if len(set(zip(map(str, first), map(str, second), strict=True))) < len(first):
        raise InputError(f"{section} lists the same {' and '.join(keys)} twice")
    parts = [
        [readers[key](f"{section}.{key}", file, folder) for key, file in zip(files, row, strict=True)]
        for row in zip(*listed.values(), strict=True)
    ]
    names = _names([listed[key] for key in keys if isinstance(files[key], list)]) if axis else [0]
    return OwnItems([made(name, *part) for name, part in zip(names, parts, strict=True)], axis)


def _of_one_length(section: str, files: dict[str, Any]) -> dict[str, list[Any]]:
    """Return lists of files of one length, by key. A single file goes with all of the other lists."""
    lengths = {key: len(value) for key, value in files.items() if isinstance(value, list)}
    if 0 in lengths.values():
        raise InputError(f"{section} has an empty list of files; needed is at least one")
    if len(set(lengths.values())) > 1:
        counts = " and ".join(map(str, lengths.values()))
        raise InputError(f"{section}.{' and '.join(lengths)} list {counts} files; needed are as many")
    count = max(lengths.values(), default=1)
    return {key: value if key in lengths else [value] * count for key, value in files.items()}


def _names(lists: Sequence[Sequence[Any]]) -> list[str]:
    """Return a name for each pair of files: that of the first list whose files are distinct, or of both."""
    for files in lists:
        if len(set(files)) == len(files):
            return _short(files)
    return [", ".join(row) for row in zip(*map(_short, lists), strict=True)]


def _short(files: Sequence[Any]) -> list[str]:
    """Return the names of files without folders and endings, or as given where they would be equal."""
    stems = [PurePath(str(file)).stem for file in files]
    return stems if len(set(stems)) == len(set(files)) else [str(file) for file in files]


def _task_of_files(
    section: str, name: str | int, x: Matrix, y: Matrix, labels: Labels | None, values: Values
) -> OwnTask:
    """Return the task of inputs and targets in files, with the conditions of the samples if there are any."""
    samples, center, whiten = (values[key] for key in ("samples", "center", "whiten"))
    inputs, targets = (part.values if samples == "columns" else part.values.T for part in (x, y))
    if inputs.shape[1] != targets.shape[1]:
        raise InputError(
            f"{section}.x = {x.file!r} has {inputs.shape[1]} samples and {section}.y = {y.file!r} has "
            f"{targets.shape[1]}, in {samples}; needed are as many (samples = 'columns' or 'rows')"
        )
    if labels is not None and len(labels.names) != inputs.shape[1]:
        raise InputError(
            f"{section}.labels = {labels.file!r} has {len(labels.names)} labels, and {section}.x = "
            f"{x.file!r} {inputs.shape[1]} samples, in {samples}; needed is one label for each sample"
        )
    names = None if labels is None else labels.names
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MeanWarning)
        task = Task(np.ascontiguousarray(inputs), np.ascontiguousarray(targets), labels=names, center=center)
    for warning in caught:
        text = str(warning.message).replace("Task(x, y, center=True)", f"{section}.center = true")
        warnings.warn(text, warning.category, stacklevel=2)
    files = {"x": x, "y": y} | ({} if labels is None else {"labels": labels})
    source = {key: file.source for key, file in files.items()}
    source |= {"samples": samples, "center": center, "whiten": whiten}
    if not whiten:
        return OwnTask.of(name, task, source)
    # Other machines round a whitening otherwise, so the data before it are the identity.
    return OwnTask.of(name, task.whiten(), source, digest(task.X, task.Y, np.ones(1)))


def _network_of_files(section: str, name: str | int, w1: Matrix, w2: Matrix) -> OwnNetwork:
    """Return the network of weights in files."""
    if w1.values.shape[0] != w2.values.shape[1]:
        raise InputError(
            f"{section}.w1 = {w1.file!r} is {w1.values.shape} and {section}.w2 = {w2.file!r} is "
            f"{w2.values.shape}; needed are (N_h, N_i) and (N_o, N_h)"
        )
    return OwnNetwork.of(name, Network(w1.values, w2.values), {"w1": w1.source, "w2": w2.source})


def _items(name: str, value: Any, kind: type, own: Any) -> OwnItems[Any] | None:
    """Read one object, a list of them, a mapping of names to them, or what a spec has kept."""
    if value is None:
        return None
    if isinstance(value, kind):
        return OwnItems([own.of(0, value)], axis=False)
    if isinstance(value, Mapping) and "sha256" in value:
        return OwnItems([own.read(name, value)], axis=False)
    listed = isinstance(value, list | tuple)
    entries: list[tuple[Any, Any]] = []
    if isinstance(value, Stacked):
        entries = _of_stack(name, value)
    elif listed:
        entries = list(enumerate(value))
    elif isinstance(value, Mapping):
        entries = list(value.items())
    if not entries:
        raise InputError(f"{name} is {shown(value)}; needed is a {kind.__name__}, or a list of them")
    names = [key for key, _ in entries]
    if {type(key) for key in names} not in ({str}, {int}):
        raise InputError(f"{name} has the names {shown(names)}; needed are texts, or whole numbers")
    items = []
    for key, entry in entries:
        if isinstance(entry, kind):
            items.append(own.of(key, entry))
        elif listed and isinstance(entry, Mapping) and "sha256" in entry:
            items.append(own.read(f"{name}[{key}]", entry))
        else:
            raise InputError(f"{name}[{key!r}] is {shown(entry)}; needed is a {kind.__name__}")
    return OwnItems(items, axis=True)


def _of_stack(name: str, stack: Stacked) -> list[tuple[Any, Any]]:
    """Return the elements of a stack, with their coordinate of texts or whole numbers, or their number."""
    if len(stack.dims) != 1:
        raise InputError(f"{name} is {shown(stack)}; needed is a stack of one dimension")
    elements = [stack[index] for index in range(stack.shape[0])]
    names = np.asarray(stack.coords.get(stack.dims[0], np.empty(0)))
    if names.dtype.kind not in "iuU" or names.size == 0:
        return list(enumerate(elements))
    return list(zip(names.tolist(), elements, strict=True))


def _tasks(name: str, value: Any) -> OwnItems[OwnTask] | None:
    return _items(name, value, Task, OwnTask)


def _networks(name: str, value: Any) -> OwnItems[OwnNetwork] | None:
    return _items(name, value, Network, OwnNetwork)


def _file(doc: str) -> Parameter:
    """Return the parameter of a file, or of a list of files, which makes an axis."""
    return Parameter(lambda name, value: value, doc, axis=False, optional=True, form="file or list of files")


DATA = {
    "x": _file(f"inputs (N_i, P): {FORMS}, relative to the file of the spec; a list makes the axis `task`"),
    "y": _file("targets (N_o, P), likewise"),
    "samples": Parameter(
        lambda name, value: check_choice(name, value, SAMPLES),
        "whether a sample is one of the columns or one of the rows of the files",
        "columns",
        axis=False,
        form="`columns` or `rows`",
    ),
    "center": Parameter(
        check_bool, "whether to subtract the means over samples", False, axis=False, form="true or false"
    ),
    "whiten": Parameter(
        check_bool,
        "whether to whiten the inputs, which is another problem",
        False,
        axis=False,
        form="true or false",
    ),
    "labels": _file(
        "condition of each sample, which `rebuild` gives back with the task, for `rdm_cosine` and "
        "`rdm_correlation`: a text file with one a line (kept with samples of up to 1 MB)"
    ),
    "data": Parameter(_tasks, _KEPT, axis=False, optional=True, form="table, or list of tables"),
}
WEIGHTS = {
    "w1": _file(
        f"W1 (N_h, N_i): {FORMS}, relative to the file of the spec; a list makes the axis `init_network`"
    ),
    "w2": _file("W2 (N_o, N_h), likewise"),
    "data": Parameter(_networks, _KEPT, axis=False, optional=True, form="table, or list of tables"),
}
