"""One key of a spec, and how tables of such keys are read and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.kinds.own_data import OwnItems
from fastlin.kinds.parameters import Choice, Kind, Parameter
from fastlin.sweeps.spec import axes
from fastlin.sweeps.spec.faults import Faults
from fastlin.validation import check_choice, suggest

REQUIRED: Final = object()  # the default of keys that a spec must have


def _always(_owner: Any) -> bool:
    return True


@dataclass(frozen=True)
class Entry:
    """One key of a spec.

    Attributes
    ----------
    section, key : str
        Its place in TOML. The section "" is the top level.
    field : str
        The attribute that holds it.
    read : callable
        ``read(name, value)`` returns the attribute, or raises an `InputError` that begins with the name.
    write : callable
        Takes the attribute and returns a value for JSON that reads back to the same.
    form : str
        The values that it takes, for the reference page.
    doc : str
        Its meaning, for the reference page.
    default : object
        The value of TOML where the key is missing. None leaves it to `read`.
    dimension : str
        The dimension of a store that its values make, if it is an axis.
    optional : bool
        Whether a single value makes no dimension. Only a list or a range does.
    written : callable
        Takes the owner of the attribute and says whether the key is written.
    choices : callable
        Returns the names that it takes, if it takes names. They are asked for when they are needed.
    former : tuple of str
        Names that the key had. They are refused with the name of now.
    """

    section: str
    key: str
    field: str
    read: Callable[[str, Any], Any]
    write: Callable[[Any], Any]
    form: str
    doc: str
    default: Any = REQUIRED
    dimension: str = ""
    optional: bool = False
    written: Callable[[Any], bool] = _always
    choices: Callable[[], Sequence[str]] | None = None
    former: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The section and the key, as messages name them."""
        return f"{self.section}.{self.key}" if self.section else self.key


def same(value: Any) -> Any:
    """Return a value as it is. It writes values that JSON knows."""
    return value


def name_entry(
    section: str, key: str, field: str, choices: Callable[[], Sequence[str]], doc: str, **more: Any
) -> Entry:
    """Return an entry that takes one of some names."""

    def read(name: str, value: Any) -> str:
        return check_choice(name, value, choices())

    return Entry(section, key, field, read, same, "name", doc, choices=choices, **more)


def names_entry(
    section: str, key: str, field: str, choices: Callable[[], Sequence[str]], doc: str, **more: Any
) -> Entry:
    """Return an entry that takes one or several of some names."""

    def read(name: str, value: Any) -> tuple[str, ...]:
        return axes.texts(name, value, choices())

    return Entry(section, key, field, read, list, "name or list of names", doc, choices=choices, **more)


@dataclass(frozen=True)
class KindSection:
    """A section that names a kind of a registry, and holds the parameters of that kind.

    Attributes
    ----------
    section, field : str
        The section, and the attribute that holds the `Choice`.
    kinds : mapping of str to Kind
        The registry.
    doc : str
        Its meaning, for the reference page.
    default : str
        The kind of a section that names none.
    shared : tuple of Entry
        Keys that every kind has, and that are attributes of the spec.
    prefix : str
        Begins the dimension of a parameter that is an axis. The key follows.
    """

    section: str
    field: str
    kinds: Mapping[str, Kind]
    doc: str
    default: str
    shared: tuple[Entry, ...] = ()
    prefix: str = ""

    @property
    def entry(self) -> Entry:
        """The entry that names the kind."""
        return name_entry(
            self.section, "kind", "kind", lambda: tuple(self.kinds), self.doc, default=self.default
        )

    def parameters(self, kind: str) -> tuple[Entry, ...]:
        """Return the entries of the parameters of one kind."""
        return tuple(parameter_entry(self.section, *item) for item in self.kinds[kind].parameters.items())

    def read(self, table: Mapping[str, Any], faults: Faults, folder: Path) -> dict[str, Any]:
        """Return the attribute, or nothing if there is a fault. An unknown kind is the only fault then.

        `folder` is that of the spec, to which the paths of files are relative.
        """
        kind = self.default if table.get("kind") is None else table["kind"]
        if not isinstance(kind, str) or kind not in self.kinds:
            return read_table([self.entry], {"kind": kind}, faults)
        entries = [self.entry, *self.parameters(kind), *self.shared]
        values = read_table(entries, table, faults)
        if len(values) < len(entries):
            return {}
        del values["kind"]
        shared = {entry.field: values.pop(entry.field) for entry in self.shared}
        if resolve := self.kinds[kind].resolve:
            try:
                values = resolve(self.section, values, folder)
            except InputError as error:
                faults.add_error(error)
                return {}
        return {self.field: Choice(self.kinds[kind], values), **shared}

    def write(self, owner: Any) -> dict[str, Any]:
        """Return the section of a spec, JSON-ready."""
        choice: Choice[Any] = getattr(owner, self.field)
        if own := self.own(owner):
            return {"kind": choice.kind.name, "data": own.content, **write_table(self.shared, owner)}
        values = {
            key: axes.compact(value) if key in choice.axes else value
            for key, value in choice.values.items()
            if value is not None
        }
        return {"kind": choice.kind.name, **values, **write_table(self.shared, owner)}

    def without(self, table: Mapping[str, Any], owner: Any, name: str) -> dict[str, Any]:
        """Return the section of a spec, as written, without the parameter of a name."""
        return {key: value for key, value in table.items() if key != name}

    def own(self, owner: Any) -> OwnItems[Any] | None:
        """Return the data of the user, if the kind of a spec takes any."""
        choice: Choice[Any] = getattr(owner, self.field)
        return choice.values["data"] if choice.kind.resolve else None

    def axes(self, owner: Any) -> dict[str, NDArray[Any]]:
        """Return the parameters of a spec that are axes, by their dimensions."""
        choice: Choice[Any] = getattr(owner, self.field)
        return {self.prefix + key: values for key, values in choice.axes.items()}

    def at(self, owner: Any, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return one value of every parameter of a spec, given those of the axes by their dimensions."""
        choice: Choice[Any] = getattr(owner, self.field)
        return choice.at({key: chosen[self.prefix + key] for key in choice.axes})


def parameter_entry(section: str, key: str, parameter: Parameter) -> Entry:
    """Return the entry of a parameter of a kind. A list or a range may make it an axis."""
    default = REQUIRED if parameter.default is None and not parameter.optional else parameter.default

    def read(name: str, value: Any) -> Any:
        if parameter.axis and isinstance(value, list | dict):
            return axes.parameters(name, value, parameter.read)
        return parameter.read(name, value)

    return Entry(section, key, key, read, same, _form(parameter), parameter.doc, default)


def _form(parameter: Parameter) -> str:
    """Return the values that a parameter takes, for the reference page."""
    return f"{parameter.form}, list or range" if parameter.axis else parameter.form


def read_table(
    entries: Sequence[Entry], table: Mapping[str, Any], faults: Faults, tables: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the attributes that a table of a spec holds. Entries that cannot be read are noted and left out.

    `tables` are the names of tables that it may hold besides its entries.
    """
    _check_keys(entries, table, faults, tables)
    fields = {}
    for entry in entries:
        given = table.get(entry.key)
        value = entry.default if given is None else given
        if value is REQUIRED:
            faults.add(f"{entry.name} is missing")
            continue
        try:
            fields[entry.field] = entry.read(entry.name, value)
        except InputError as error:
            faults.add_error(error)
    return fields


def _check_keys(
    entries: Sequence[Entry], table: Mapping[str, Any], faults: Faults, tables: Sequence[str]
) -> None:
    section = entries[0].section
    known = [*(entry.key for entry in entries), *tables]
    renamed = {former: entry.key for entry in entries for former in entry.former}
    for key in table:
        if key not in known:
            hint = f"it is called {renamed[key]!r} now" if key in renamed else suggest(key, known)
            where = f"[{section}]" if section else "the spec"
            faults.add(f"{where} has the unknown key {key!r}; {hint}")


def write_table(entries: Sequence[Entry], owner: Any) -> dict[str, Any]:
    """Return one table of a spec from the attributes of its owner, JSON-ready."""
    table = {}
    for entry in entries:
        if entry.written(owner):
            value = entry.write(getattr(owner, entry.field))
            single = entry.optional and entry.dimension not in owner.optional_dims
            table[entry.key] = value[0] if single else value
    return table
