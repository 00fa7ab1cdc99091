"""Points that are no product of axes: a table with a row for each point, from a spec, a file or Python."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels.random import MAX_SIZE
from fastlin.kinds.parameters import Choice
from fastlin.paths import user_path
from fastlin.sweeps.spec.design import KEYS, MAX_POINTS, Design, read_design
from fastlin.sweeps.spec.faults import Faults
from fastlin.validation import shown, suggest

SECTION: Final = "points"
POINT: Final = "point"  # the dimension of a store
SIZES = ("n_i", "n_h", "n_o")
ARCHITECTURE = "architecture"
INLINE = 1000  # rows of a table that its spec holds itself; the store holds longer ones
REFERENCE = ("sha256", "num", "columns")  # keys of a spec whose table is in the store
FILES = (".csv", ".parquet")
_LITTLE = {"i": "<i8", "f": "<f8"}

Column = NDArray[Any]


@dataclass(frozen=True, eq=False)
class PointTable:
    """The points of a sweep that is no product: one row for each.

    Attributes
    ----------
    columns : dict of str to array, (num,)
        Values by the names of axes, in the order of `names`. Sizes are columns n_i, n_h and n_o.
    design : Design or None
        The design that draws the rows.
    """

    columns: dict[str, Column]
    design: Design | None = field(default=None)

    @property
    def num(self) -> int:
        """Number of points."""
        return len(next(iter(self.columns.values())))

    def __contains__(self, name: str) -> bool:
        """Return whether there is a column of this name."""
        return name in self.columns

    @cached_property
    def sha256(self) -> str:
        """The checksum of all rows."""
        digest = hashlib.sha256()
        for name, values in self.columns.items():
            digest.update(f"{name}:{values.dtype.kind}:".encode())
            digest.update(_bytes(values))
        return digest.hexdigest()

    @cached_property
    def architectures(self) -> tuple[Architecture, ...]:
        """The distinct architectures, in the order of their sizes."""
        return tuple(Architecture(*map(int, triple)) for triple in self._shapes[0])

    @cached_property
    def architecture_codes(self) -> NDArray[np.int64]:
        """The number in `architectures` of each point, (num,)."""
        return self._shapes[1]

    @cached_property
    def _shapes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        n_i, n_h, n_o = (self.columns[name] for name in SIZES)
        base = MAX_SIZE + 1
        _, first, codes = np.unique((n_i * base + n_h) * base + n_o, return_index=True, return_inverse=True)
        return np.stack([n_i[first], n_h[first], n_o[first]], axis=1), codes.reshape(-1)

    def combinations(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield the values of some columns in each of their combinations that has a row."""
        for row in self.distinct(np.zeros(self.num, dtype=np.int64), names):
            yield {name: self.columns[name][row].item() for name in names}

    def distinct(self, codes: NDArray[np.int64], names: Sequence[str]) -> list[int]:
        """Return a row of each combination of codes (num,) and the values of some columns."""
        for name in names:
            values, part = np.unique(self.columns[name], return_inverse=True)
            codes = np.unique(codes * len(values) + part, return_inverse=True)[1]  # so that they stay small
        rows: list[int] = np.unique(codes, return_index=True)[1].tolist()
        return rows

    @property
    def by_reference(self) -> bool:
        """Whether its spec names it by its hash, and a store holds its rows."""
        return self.design is None and self.num > INLINE

    def to_bytes(self) -> bytes:
        """Return all rows as bytes, which begin with a line of JSON."""
        blobs = [_bytes(values) for values in self.columns.values()]
        kinds = [values.dtype.kind for values in self.columns.values()]
        head = [[name, kind, len(blob)] for name, kind, blob in zip(self.columns, kinds, blobs, strict=True)]
        return b"\n".join([json.dumps(head).encode(), b"".join(blobs)])

    @classmethod
    def from_bytes(cls, content: bytes) -> PointTable:
        """Return the table of `to_bytes`. Raises ValueError if it is none."""
        head, _, rest = content.partition(b"\n")
        columns, first = {}, 0
        for name, kind, length in json.loads(head):
            part, first = rest[first : first + length], first + length
            columns[name] = np.array(json.loads(part)) if kind == "U" else np.frombuffer(part, _LITTLE[kind])
        return cls(columns)

    def head(self, num: int) -> PointTable:
        """Return the table of the first rows."""
        if num == self.num:
            return self
        return PointTable({name: values[:num] for name, values in self.columns.items()})

    def grows_to(self, other: PointTable) -> bool:
        """Return whether another table begins with the rows of this one."""
        if self.design and other.design and self.design.grows_to(other.design):
            return True
        return (
            list(self.columns) == list(other.columns)
            and self.num <= other.num
            and all(
                np.array_equal(values, other.columns[name][: self.num])
                for name, values in self.columns.items()
            )
        )

    def united(self, other: PointTable) -> PointTable:
        """Return a table that begins with the rows of this one, and goes on with those that another one adds.

        Both have the same columns.
        """
        for smaller, larger in ((other, self), (self, other)):
            if smaller.grows_to(larger):
                return larger
        new = positions([*other.columns.values()], [*self.columns.values()]) < 0
        added = {name: values[new] for name, values in other.columns.items()}
        return PointTable(
            {name: np.concatenate([values, added[name]]) for name, values in self.columns.items()}
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the section of a spec, JSON-ready. A table of many rows is named by its hash."""
        if self.design:
            return self.design.to_dict()
        if self.by_reference:  # see `is_reference`
            return {"sha256": self.sha256, "num": self.num, "columns": list(self.columns)}
        return {name: values.tolist() for name, values in self.columns.items()}

    def with_sizes(self, shape: Architecture) -> PointTable:
        """Return the table with the sizes of an architecture where it has none."""
        missing = [name for name in SIZES if name not in self.columns]
        columns, design = dict(self.columns), self.design
        for name in missing:
            columns[name] = np.full(self.num, getattr(shape, name), dtype=np.int64)
            design = design and design.with_constant(name, getattr(shape, name), (*SIZES, *self.columns))
        rest = [name for name in columns if name not in SIZES]
        return PointTable({name: columns[name] for name in (*SIZES, *rest)}, design)


def positions(wanted: Sequence[Column], present: Sequence[Column]) -> NDArray[np.intp]:
    """Return for each wanted row the first place at which it is present, or -1.

    Parameters
    ----------
    wanted : sequence of ndarray, (wanted rows,)
        The columns of some rows.
    present : sequence of ndarray, (present rows,)
        The same columns of others.
    """
    count = len(wanted[0])
    keys = np.zeros(count + len(present[0]), dtype=np.int64)
    for pair in zip(wanted, present, strict=True):
        values, codes = np.unique(np.concatenate(pair), return_inverse=True)
        keys = np.unique(keys * len(values) + codes, return_inverse=True)[1]
    places = np.full(keys.max(initial=0) + 1, -1)
    places[keys[count:][::-1]] = np.arange(len(present[0]))[::-1]
    return places[keys[:count]]


def _bytes(values: Column) -> bytes:
    """Return the values of a column as bytes that are the same on every machine."""
    if values.dtype.kind == "U":
        return json.dumps(values.tolist()).encode()
    little: bytes = values.astype(_LITTLE[values.dtype.kind]).tobytes()
    return little


def chosen_parameters(
    choice: Choice[Any], table: PointTable | None, prefix: str = ""
) -> Iterator[dict[str, Any]]:
    """Yield one value of every parameter of a kind, in each combination of its axes or of rows of a table.

    `prefix` begins the names of the columns.
    """
    names = [prefix + key for key in choice.axes]
    if table is None or not names or not all(name in table for name in names):
        yield from choice.combinations
        return
    for values in table.combinations(names):
        yield choice.at({name.removeprefix(prefix): value for name, value in values.items()})


def plain(value: Any) -> Any:
    """Return a value as TOML would have it: arrays, ranges and tuples as lists, NumPy scalars as numbers."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple | range) else value


def is_reference(value: Any) -> bool:
    """Return whether a section [points] names its table by its hash."""
    return isinstance(value, Mapping) and set(value) == set(REFERENCE)


def column_names(section: Mapping[str, Any]) -> list[str]:
    """Return the names of the columns of a resolved section [points]."""
    given = section["columns"] if is_reference(section) else [name for name in section if name not in KEYS]
    return [*SIZES, *(name for name in given if name not in (*SIZES, ARCHITECTURE))]


def read_points(value: Any, kinds: Mapping[str, str], folder: Path, faults: Faults) -> PointTable | None:
    """Read the points of a spec; None where there are none, or a fault.

    Parameters
    ----------
    value : PointTable, mapping, DataFrame, Dataset or None
        The section [points], or a table of Python.
    kinds : mapping of str to str
        The types of the columns that there are, in order: "integer", "real" or "text".
    folder : Path
        The folder of the spec, in which its files are.
    faults : Faults
        Where faults are noted.
    """
    if value is None or isinstance(value, PointTable):
        return value
    try:
        if isinstance(value, Mapping) and not hasattr(value, "data_vars"):  # a Dataset is a mapping, too
            return _of_mapping(dict(value), kinds, folder, faults)
        return _of_columns(_columns_of(value, kinds), kinds)
    except InputError as error:
        faults.add_error(error)
        return None


def _of_mapping(
    value: dict[str, Any], kinds: Mapping[str, str], folder: Path, faults: Faults
) -> PointTable | None:
    if is_reference(value):
        raise InputError(
            f"{SECTION} names a table of {value['num']:,} rows by its hash alone; give the table as well, by "
            "run_sweep(..., points=table) or in the spec"
        )
    if "file" in value:
        if len(value) > 1:
            raise InputError(
                f"[{SECTION}] has a file and {', '.join(set(value) - {'file'})}; give one of them"
            )
        return _of_columns(_of_file(value["file"], folder, kinds), kinds)
    if set(KEYS) & set(value):
        table = {
            name: _architecture_names(part) if name == ARCHITECTURE else plain(part)
            for name, part in value.items()
        }
        design = read_design(SECTION, table, kinds, faults)
        if design is None:
            return None
        found = _of_columns(design.draw(), kinds)
        return PointTable(found.columns, design)
    return _of_columns(value, kinds)


def _of_columns(given: Mapping[str, Any], kinds: Mapping[str, str]) -> PointTable:
    """Return the table of some columns. A value that is no list is that of all points."""
    for name in given:
        if name not in kinds:
            raise InputError(f"[{SECTION}] has the unknown column {name!r}; {suggest(name, list(kinds))}")
    if not given:
        raise InputError(f"[{SECTION}] is empty; needed are columns, a file, or a design with sample and num")
    columns = {}
    for name, kind in kinds.items():
        if name in given:
            values = _architecture_names(given[name]) if name == ARCHITECTURE else given[name]
            columns[name] = _column(f"{SECTION}.{name}", values, kind)
    lengths = {name: len(values) for name, values in columns.items() if values.ndim}
    if not lengths:
        raise InputError(f"[{SECTION}] has no list; needed is a column with a value for each point")
    (first, num), *others = lengths.items()
    for name, length in others:
        if length != num:
            raise InputError(
                f"{SECTION}.{name} has {length} values, and {SECTION}.{first} {num}; columns are equally long"
            )
    if not 1 <= num <= MAX_POINTS:
        raise InputError(f"{SECTION}.{first} has {num} values; allowed are 1 to {MAX_POINTS}")
    full = {name: values if values.ndim else np.repeat(values, num) for name, values in columns.items()}
    return PointTable(_with_sizes(full))


def _with_sizes(columns: dict[str, Column]) -> dict[str, Column]:
    """Return the columns with sizes instead of names of architectures."""
    if ARCHITECTURE not in columns:
        return columns
    for name in SIZES:
        if name in columns:
            raise InputError(f"[{SECTION}] has the columns architecture and {name}; give one of them")
    names, codes = np.unique(columns[ARCHITECTURE], return_inverse=True)
    shapes = []
    for code, text in enumerate(names.tolist()):
        try:
            shapes.append(Architecture.read(text))
        except InputError as error:
            row = int(np.argmax(codes == code))
            raise InputError(f"{SECTION}.architecture[{row}]: {error}") from None
    sizes = np.array([(shape.n_i, shape.n_h, shape.n_o) for shape in shapes], dtype=np.int64)
    rest = {name: values for name, values in columns.items() if name != ARCHITECTURE}
    return {name: sizes[codes.reshape(-1), at] for at, name in enumerate(SIZES)} | rest


def _architecture_names(value: Any) -> Any:
    """Return architectures, one or a list of them, as texts like "4-2-4"."""
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind == "O":
        value = value.tolist()
    if isinstance(value, Architecture):
        return str(value)
    if isinstance(value, list | tuple | np.ndarray):
        if len(value) and all(isinstance(item, int | np.integer) for item in value):
            return "-".join(str(int(item)) for item in value)
        return [_architecture_names(item) for item in value]
    return value


def _column(name: str, value: Any, kind: str) -> Column:
    """Return a column of numbers or texts, or one value without dimension."""
    values = _array(name, value)
    if kind == "text":
        return _names(name, values)
    if values.dtype.kind in "OUbcMm":
        place, bad = _first_bad(value if isinstance(value, list) else values.tolist())
        raise InputError(f"{name}{place} is {shown(bad)}; a number is needed")
    if kind == "integer":
        return _integers(name, values)
    numbers: Column = np.asarray(values.astype(np.float64) + 0.0)  # which makes 0.0 of -0.0
    _check_all(name, numbers, np.isfinite(numbers), "a finite number is needed")
    return numbers


def _names(name: str, values: Column) -> Column:
    values = np.array(values.tolist()) if values.dtype.kind == "O" else values
    if values.dtype.kind not in "UT":
        raise InputError(f"{name} is {shown(values.tolist())}; names are needed")
    return values.astype(str)


def _integers(name: str, values: Column) -> Column:
    if values.dtype.kind == "f":
        _check_all(name, values, values == np.floor(values), "a whole number is needed")
    largest = np.iinfo(np.int64).max
    if values.dtype.kind in "fu":
        _check_all(name, values, np.abs(values) < 2.0**63, f"allowed is up to {largest}")
    return values.astype(np.int64)


def _check_all(name: str, values: Column, good: NDArray[np.bool_], needed: str) -> None:
    """Raise with the place of the first value that is not good."""
    if not np.all(good):
        row = int(np.argmin(good))
        place = _at(row) if values.ndim else ""
        raise InputError(f"{name}{place} is {np.atleast_1d(values)[row]}; {needed}")


def _at(row: int) -> str:
    return f"[{row}]"


def _array(name: str, value: Any) -> Column:
    """Return anything that holds values as an array of at most one dimension."""
    if isinstance(value, Mapping):
        raise InputError(f"{name} is {shown(value)}; a range needs a design: give sample and num as well")
    try:
        values = np.asarray(value)
    except ValueError:  # lists of other lengths
        raise InputError(f"{name} is {shown(value)}; a list of values is needed") from None
    if values.ndim > 1:
        raise InputError(f"{name} has {values.ndim} dimensions; a list of values is needed")
    return values


def _first_bad(value: Any) -> tuple[str, Any]:
    """Return the place and the first value that is no number."""
    if not isinstance(value, list):
        return "", value
    bad = (isinstance(item, bool | str) or not isinstance(item, int | float | np.number) for item in value)
    row = next((row for row, is_bad in enumerate(bad) if is_bad), 0)
    return _at(row), value[row]


def _columns_of(value: Any, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Return the columns of a DataFrame, or those of a Dataset whose names are columns.

    A Dataset of a sweep over a table has them along the dimension `point`, in the order of its coordinate.
    """
    if hasattr(value, "data_vars"):
        of_sweep = POINT in value.dims and POINT in value.coords
        value = value.sortby(POINT) if of_sweep else value
        names = [name for name in kinds if name in value.variables]
        found = {name: value[name].values for name in names if not of_sweep or POINT in value[name].dims}
        if ARCHITECTURE in found:
            found = {name: part for name, part in found.items() if name not in SIZES}
        if not found:
            raise InputError(f"points is a Dataset without any column; needed is one of {', '.join(kinds)}")
        return found
    if hasattr(value, "columns") and hasattr(value, "to_numpy"):
        return {str(name): value[name].to_numpy() for name in value.columns}
    raise InputError(f"points is {shown(value)}; needed is a mapping of columns, a DataFrame or a Dataset")


def _of_file(name: Any, folder: Path, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Return the columns of a CSV or Parquet file."""
    if not isinstance(name, str) or not name.lower().endswith(FILES):
        raise InputError(
            f"{SECTION}.file is {shown(name)}; needed is the name of a file that ends in {' or '.join(FILES)}"
        )
    path = folder / user_path(name)
    try:
        return _of_csv(path, kinds) if path.suffix.lower() == ".csv" else _of_parquet(path)
    except ImportError:
        raise InputError(f"{SECTION}.file is {name!r}; Parquet needs pyarrow: pip install pyarrow") from None
    except InputError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
        raise InputError(f"{SECTION}.file: cannot read {name}: {reason}") from None


def _of_parquet(path: Path) -> dict[str, Any]:
    import pandas  # its import takes half a second

    frame = pandas.read_parquet(path)
    return {str(column): frame[column].to_numpy() for column in frame.columns}


def _of_csv(path: Path, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Return the columns of a CSV file, whose first line has their names. Numbers are rounded correctly."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = [line for line in csv.reader(file, skipinitialspace=True) if line]
    if len(lines) < 2:
        raise InputError(f"{SECTION}.file: {path.name} has no rows below a line with the names of columns")
    names, rows = [name.strip() for name in lines[0]], lines[1:]
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise InputError(
                f"{SECTION}.file: row {number} of {path.name} has {len(row)} values for {len(names)} columns"
            )
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return {name: _parsed(name, texts, kinds.get(name, "text")) for name, texts in columns}


def _parsed(name: str, texts: Sequence[str], kind: str) -> Column:
    """Return the numbers or names of a column of a file."""
    if kind == "text":
        return np.array([text.strip() for text in texts])
    for convert in (int, float) if kind == "integer" else (float,):
        with suppress(ValueError, OverflowError):
            return np.array([convert(text) for text in texts])
    for row, text in enumerate(texts):
        with suppress(ValueError):
            float(text)
            continue
        raise InputError(f"{SECTION}.{name}[{row}] is {text!r}; a number is needed")
    raise InputError(f"{SECTION}.{name} has numbers beyond 64 bits")
