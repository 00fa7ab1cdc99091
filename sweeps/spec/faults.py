"""Faults of a spec, gathered so that one run shows all of them."""

from __future__ import annotations

from fastlin.errors import InputError

SHOWN = 3  # places of one kind of fault that a line names


class Faults:
    """Faults in the order found, one line for each kind."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._repeated: dict[str, list[tuple[str, str]]] = {}

    def __bool__(self) -> bool:
        """Return whether there is any fault."""
        return bool(self._first)

    def add(self, line: str, kind: str = "", name: str = "", position: str = "") -> None:
        """Note a fault.

        Parameters
        ----------
        line : str
            The message, in one line.
        kind : str, optional
            Faults of one kind share a line. It is the message of the first one, and then it says where the
            others are. By default only equal messages are of one kind.
        name, position : str, optional
            The key, and the position in it, as in "axes.lam" and "[3]".
        """
        kind = kind or line
        if kind not in self._first:
            self._first[kind] = line
            self._repeated[kind] = []
        elif position:
            self._repeated[kind].append((name, position))

    def add_error(self, error: InputError) -> None:
        """Note the faults that an exception tells, one on each line."""
        for line in str(error).splitlines():
            self.add(line)

    @property
    def lines(self) -> list[str]:
        """One line for each kind of fault."""
        return [line + _elsewhere(self._repeated[kind]) for kind, line in self._first.items()]

    def check(self) -> None:
        """Raise an `InputError` with one line for each kind of fault, if there is any."""
        if self:
            raise InputError("\n".join(self.lines))


def _elsewhere(positions: list[tuple[str, str]]) -> str:
    """Return where else a fault is: the first places, and the number of others."""
    if not positions:
        return ""
    listed = ", ".join(position for _, position in positions[:SHOWN])
    more = f" and {len(positions) - SHOWN} more" if len(positions) > SHOWN else ""
    return f" (the same at {positions[0][0]}{listed}{more})"
