"""Common parts of the kinds of tasks and starts: names, and parameters from a spec or a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Parameter:
    """A number, a name or a list that a kind takes.

    Attributes
    ----------
    read : callable
        Takes a name for messages and a value, and returns the value checked. It raises an `InputError`.
    doc : str
        Its meaning, unit and range, for the reference.
    default : optional
        None where it must be given.
    axis : bool
        Whether a list or a range in a spec makes an axis. Otherwise a list is one value.
    optional : bool
        Whether it may be missing though it has no default. Its value is None then, which `read` gets.
    form : str
        The values that it takes, for the reference.
    """

    read: Callable[[str, Any], Any]
    doc: str
    default: Any = None
    axis: bool = True
    optional: bool = False
    form: str = "number"


# Takes the name of a section, its parameters as read, and the folder of the spec. Returns the parameters
# of the law: "data", a mapping with `content` for the spec that a store keeps, and a name in it or an array
# of names.
Resolve = Callable[[str, Mapping[str, Any], Path], dict[str, Any]]


class Kind(Protocol):
    """One of a registry, by its name, with parameters."""

    @property
    def name(self) -> str:
        """Name in specs and calls."""

    @property
    def doc(self) -> str:
        """One sentence for the reference."""

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """Parameters by their names."""

    @property
    def resolve(self) -> Resolve | None:
        """Reads the files that are parameters, if any are."""


K = TypeVar("K", bound=Kind)


@dataclass(frozen=True)
class Choice(Generic[K]):
    """A kind, and values for all of its parameters.

    Attributes
    ----------
    kind : Kind
        One of a registry.
    values : mapping of str to object
        The value of each parameter. It is an array (values,) where the parameter is an axis of a sweep.
    """

    kind: K
    values: Mapping[str, Any]

    @property
    def axes(self) -> dict[str, NDArray[Any]]:
        """The values of the parameters that are axes."""
        return {key: value for key, value in self.values.items() if isinstance(value, np.ndarray)}

    def at(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return one value of every parameter, given those of the axes."""
        return dict(self.values) | {key: chosen[key] for key in self.axes}

    @property
    def combinations(self) -> Iterator[dict[str, Any]]:
        """One value of every parameter, in every combination of those that are axes."""
        for values in product(*(axis.tolist() for axis in self.axes.values())):
            yield self.at(dict(zip(self.axes, values, strict=True)))
