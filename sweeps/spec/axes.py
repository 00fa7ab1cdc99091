"""Axes of a sweep: lists and ranges of values, read from a spec and written back in one form."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels.random import MAX_SEED, MAX_SIZE
from fastlin.sweeps.spec import ranges
from fastlin.sweeps.spec.faults import Faults
from fastlin.sweeps.spec.ranges import MAX_LENGTH
from fastlin.validation import check_choice, check_float, check_int, shown, suggest

MAX_SHAPES = 10**5
MAX_PARAMETERS = 10**5  # values of an axis of a task or a start


def integers(name: str, value: Any, low: int = 0, high: int = MAX_SEED) -> NDArray[np.int64]:
    """Read whole numbers in [low, high]: one, a range, or a list of both. Return them sorted."""

    def read(where: str, item: Any) -> Any:
        if isinstance(item, dict):
            return ranges.integers(where, item, low, high)
        return check_int(where, item, low, high)

    return _numbers(name, value, read, np.int64)


def reals(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    infinite: bool = False,
) -> NDArray[np.float64]:
    """Read numbers in [low, high]: one, a range, or a list of both. Return them sorted.

    With `above` they lie in (low, high]. With `infinite` a number may be infinite.
    """

    def read(where: str, item: Any) -> Any:
        if isinstance(item, dict):
            return ranges.reals(where, item, low, high, above=above)
        if infinite and item == "inf":  # JSON, in which stores keep specs, has no number for it
            item = math.inf
        return check_float(where, item, low, high, above=above, infinite=infinite)

    return _numbers(name, value, read, np.float64)


def parameters(name: str, value: Any, read: Callable[[str, Any], Any]) -> NDArray[Any]:
    """Read a range, or a list of values and ranges, of a parameter. Return numbers sorted, texts in order.

    `read` takes a name and one value, and returns it checked.
    """

    def read_item(where: str, item: Any) -> Any:
        return _range_of(where, item, read) if isinstance(item, dict) else read(where, item)

    if isinstance(value, list) and any(isinstance(item, str) for item in value):
        return np.array(_distinct(name, _items(name, value, read)))
    items = _items(name, value, read_item) if isinstance(value, list) else [read_item(name, value)]
    if any(isinstance(item, bool) for item in items):
        raise InputError(f"{name} is {shown(value)}; needed is true or false, which make no axis")
    whole = all(_are_whole(item) for item in items)
    values = _numbers(name, value, read_item, np.int64 if whole else np.float64)
    _check_length(name, values.size, MAX_PARAMETERS)
    return values


def _range_of(name: str, value: dict[str, Any], read: Callable[[str, Any], Any]) -> NDArray[Any]:
    """Return the values of a range of a parameter: whole numbers if the parameter takes only these."""
    ranges.check_keys(name, value, ("start",), "stop", "num", "step", "spacing")
    values: NDArray[Any]
    if _are_whole(read(f"{name}.start", value["start"])):
        values = ranges.integers(name, value, -MAX_SEED, MAX_SEED)
    else:
        values = ranges.reals(name, value, -math.inf, math.inf, above=False)
    _check_length(name, values.size, MAX_PARAMETERS)
    for entry in values.tolist():
        read(name, entry)
    return values


def _are_whole(part: Any) -> bool:
    return isinstance(part, int) if np.ndim(part) == 0 else part.dtype == np.int64


def _numbers(name: str, value: Any, read: Callable[[str, Any], Any], dtype: Any) -> NDArray[Any]:
    """Read an axis of numbers. Ranges may overlap, but no number may be listed twice."""
    values: NDArray[Any]
    if not isinstance(value, list):
        values = np.atleast_1d(np.asarray(read(name, value), dtype))
    elif not value:
        raise InputError(f"{name} is empty; at least one value is needed")
    else:
        parts = _items(name, value, read)
        listed = [part for item, part in zip(value, parts, strict=True) if not isinstance(item, dict)]
        spans = [part for item, part in zip(value, parts, strict=True) if isinstance(item, dict)]
        _check_length(name, len(listed) + sum(map(len, spans)), MAX_LENGTH)
        values, counts = np.unique(np.array(listed, dtype), return_counts=True)
        if (counts > 1).any():
            raise InputError(f"{name} holds {values[counts > 1][0]:g} more than once; list each value once")
        values = np.unique(np.concatenate([values, *spans])) if spans else values
    values += dtype(0)  # which makes 0.0 of -0.0, so that equal axes have equal hashes
    return values


def _items(name: str, items: list[Any], read: Callable[[str, Any], Any]) -> list[Any]:
    """Return the values that are read from each item of a list.

    Raises
    ------
    InputError
        With one line for each kind of fault.
    """
    faults = Faults()
    parts = []
    for index, item in enumerate(items):
        position = f"[{index}]"
        try:
            parts.append(read(name + position, item))
        except InputError as error:
            # A message names the fault and, after a semicolon, the allowed values. One kind breaks one rule.
            rule = str(error).replace(name + position, name).rpartition("; ")[2]
            faults.add(str(error), rule, name, position)
    faults.check()
    return parts


def _check_length(name: str, length: int, allowed: int) -> None:
    if length > allowed:
        raise InputError(f"{name} has {length} values; at most {allowed} are allowed")


def architectures(name: str, value: Any) -> tuple[Architecture, ...]:
    """Read one architecture, a product of sizes ``{n_i, n_h, n_o}``, or a list of both, in their order.

    An architecture is an `Architecture`, ``[N_i, N_h, N_o]`` or "N_i-N_h-N_o".
    """
    if isinstance(value, dict):
        return tuple(_shapes(name, value))
    if isinstance(value, str | Architecture) or (isinstance(value, list) and value and _is_number(value[0])):
        value = [value]
    if not isinstance(value, list) or not value:
        raise InputError(f"{name} is {shown(value)}; needed is a list like [[4, 2, 4], [4, 4, 4]]")
    parts = _items(name, value, _shapes)
    _check_length(name, sum(map(len, parts)), MAX_SHAPES)
    listed = Counter(part[0] for item, part in zip(value, parts, strict=True) if not isinstance(item, dict))
    twice = [shape for shape, count in listed.items() if count > 1]
    if twice:
        raise InputError(f"{name} holds {twice[0]} more than once; list each architecture once")
    return tuple(dict.fromkeys(shape for part in parts for shape in part))


def _is_number(value: Any) -> bool:
    return not isinstance(value, str | list | dict | Architecture)


def _shapes(name: str, value: Any) -> list[Architecture]:
    """Read one architecture or a product of sizes."""
    if isinstance(value, dict):
        return _product(name, value)
    if isinstance(value, Architecture):
        return [value]
    if not isinstance(value, str) and (not isinstance(value, list) or len(value) != 3):
        raise InputError(f"{name} is {shown(value)}; needed is [N_i, N_h, N_o]")
    try:
        return [Architecture.read(value) if isinstance(value, str) else Architecture(*value)]
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _product(name: str, value: dict[str, Any]) -> list[Architecture]:
    keys = ("n_i", "n_h", "n_o")
    ranges.check_keys(name, value, keys)
    sizes = [integers(f"{name}.{key}", value[key], 1, MAX_SIZE).tolist() for key in keys]
    if (count := math.prod(map(len, sizes))) > MAX_SHAPES:
        raise InputError(f"{name} is a product of {count} shapes; at most {MAX_SHAPES} are allowed")
    return [Architecture(*triple) for triple in product(*sizes)]


def texts(name: str, value: Any, allowed: Sequence[str]) -> tuple[str, ...]:
    """Read names: one, or a list in its order. Each is among `allowed`, and none occurs twice."""
    items = value if isinstance(value, list) else [value]
    if not items:
        raise InputError(f"{name} is empty; {suggest('', allowed)}")
    return _distinct(name, [check_choice(name, item, allowed) for item in items])


def _distinct(name: str, names: list[str]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise InputError(f"{name} holds {max(names, key=names.count)!r} more than once; list each name once")
    return tuple(names)


def compact(values: NDArray[Any]) -> Any:
    """Return the shortest JSON-ready form that reads back to the same values, bit for bit."""
    if values.size > 2 and values.dtype.kind in "if":
        if values.dtype == np.int64:
            step = int(values[1] - values[0])
            form: dict[str, Any] = {"start": int(values[0]), "num": values.size, "step": step}
            if np.array_equal(values, int(values[0]) + step * np.arange(values.size)):
                return form
        elif np.isfinite(values[-1]):
            form = {"start": float(values[0]), "stop": float(values[-1]), "num": values.size}
            if np.array_equal(values, reals("", form)):
                return form
    return ["inf" if value == math.inf else value for value in values.tolist()]
