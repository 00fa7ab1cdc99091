"""Common parts of the kinds of tasks and starts: names, and parameters from a spec or a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar


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
    """

    read: Callable[[str, Any], Any]
    doc: str
    default: Any = None
    axis: bool = True
    optional: bool = False


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


K = TypeVar("K", bound=Kind)


@dataclass(frozen=True)
class Choice(Generic[K]):
    """A kind, and values for all of its parameters."""

    kind: K
    values: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return it as a section of a spec."""
        given = {key: value for key, value in self.values.items() if value is not None}
        return {"kind": self.kind.name, **given}
