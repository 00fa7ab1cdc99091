"""Files of the user: matrices in npy, npz, CSV and Zarr arrays, and labels of samples."""

from __future__ import annotations

import csv
import hashlib
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array
from fastlin.paths import user_path
from fastlin.validation import check_array, shown, suggest

FORMS = "file.npy, file.npz:KEY, file.csv or the path of a Zarr array"
_ZARR = ("zarr.json", ".zarray", ".zgroup")
# Raised by NumPy and Zarr for files that they cannot read. RuntimeError is of a chunk that zstd cannot read.
_REASONS = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Matrix(NamedTuple):
    """Numbers of a file, and a hash that tells whether they have changed."""

    values: Array  # (rows, columns)
    file: str  # as it was given
    sha256: str  # of the sizes and the little-endian values

    @property
    def source(self) -> dict[str, str]:
        """The file and the hash, JSON-ready."""
        return {"file": self.file, "sha256": self.sha256}


def read_matrix(name: str, file: Any, folder: Path) -> Matrix:
    """Read a matrix from a file.

    Parameters
    ----------
    name : str
        Name of the matrix for messages, as "task.x".
    file : str
        Path of the file, relative to `folder`. ``file.npz:KEY`` is one of the arrays of an npz file. A
        leading ~ is the home folder.
    folder : Path
        The folder of the spec.

    Returns
    -------
    Matrix
        Float64 values (rows, columns). A vector is one row.

    Raises
    ------
    InputError
        If there is no such file, it is of another form, or it holds other things than finite numbers.
    """
    if not isinstance(file, str) or not file:
        raise InputError(f"{name} is {shown(file)}; needed is {FORMS}")
    path, key = _path_and_key(file)
    what = f"{name} = {file!r}"
    place = _existing(what, folder, path)
    values = _numbers(what, _read(what, place, key))
    if values.ndim not in (1, 2):
        raise InputError(f"{what} has shape {values.shape}; needed is a matrix")
    values = np.ascontiguousarray(check_array(what, np.atleast_2d(values), "(rows, columns)"))
    return Matrix(values, file, digest(values))


class Labels(NamedTuple):
    """Labels of samples in a file."""

    names: list[str]
    file: str  # as it was given

    @property
    def source(self) -> dict[str, str]:
        """The file and the SHA-256 of the labels, JSON-ready."""
        return {"file": self.file, "sha256": digest_of_labels(self.names)}


def read_labels(name: str, file: Any, folder: Path) -> Labels:
    """Read labels from a text file with one a line, which is also a CSV file of one column.

    Parameters
    ----------
    name : str
        Name of the entry for messages, as "task.labels".
    file : str
        Path of the file, relative to `folder`.
    folder : Path
        The folder of the spec.

    Returns
    -------
    Labels

    Raises
    ------
    InputError
        If there is no such file, or a line has no label or several.
    """
    if not isinstance(file, str) or not file:
        raise InputError(f"{name} is {shown(file)}; needed is a text file with one label a line")
    what = f"{name} = {file!r}"
    place = _existing(what, folder, file)
    try:
        with place.open(encoding="utf-8-sig", newline="") as lines:
            rows = [[cell.strip() for cell in row] for row in csv.reader(lines, strict=True)]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{what} cannot be read as text: {error}") from None
    while rows and rows[-1] == []:
        rows.pop()
    for number, row in enumerate(rows, 1):
        if len(row) != 1 or not row[0]:
            found = f"{len(row)} labels" if len(row) > 1 else "no label"
            raise InputError(f"{what}, line {number}: it has {found}; needed is one a line")
    return Labels([row[0] for row in rows], file)


def digest(*arrays: Array) -> str:
    """Return the SHA-256 of the sizes and the values of some arrays."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(repr(array.shape).encode())
        total.update(np.ascontiguousarray(array, "<f8").tobytes())
    return total.hexdigest()


def digest_of_labels(labels: Sequence[str | int]) -> str:
    """Return the SHA-256 of labels, one a line."""
    return hashlib.sha256("\n".join(map(str, labels)).encode()).hexdigest()


def _existing(what: str, folder: Path, path: str) -> Path:
    """Return the place of a file. Raise an `InputError` if there is none."""
    place = folder / user_path(path)
    with suppress(OSError):  # of a name that is too long
        if place.exists():
            return place
    raise InputError(f"{what}: there is no such file in {place.parent}")


def _path_and_key(file: str) -> tuple[str, str | None]:
    """Return the path of a file, and the key in an npz file if there is one."""
    path, found, key = file.rpartition(".npz:")
    return (f"{path}.npz", key) if found else (file, None)


def _read(what: str, place: Path, key: str | None) -> Any:
    if any((place / entry).exists() for entry in _ZARR):
        return _of_zarr(what, place)
    readers = {".npy": _of_npy, ".csv": _of_csv}
    if place.suffix == ".npz":
        return _of_npz(what, place, key)
    if place.is_dir() or place.suffix not in readers:
        raise InputError(f"{what} is of an unknown form; needed is {FORMS}")
    return readers[place.suffix](what, place)


def _of_npy(what: str, place: Path) -> Any:
    try:
        return np.load(place, allow_pickle=False)
    except _REASONS as error:
        raise _unreadable(what, "npy file", error) from None


def _of_npz(what: str, place: Path, key: str | None) -> Any:
    try:
        # NumPy does not close the file of an archive that it cannot read.
        with place.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names = list(arrays.files)
            if key is None and len(names) == 1:
                key = names[0]
            if key in names:
                return arrays[key]
    except (*_REASONS, AttributeError, TypeError) as error:  # the last two are of a npy file of that name
        raise _unreadable(what, "npz file", error) from None
    if not names:
        raise InputError(f"{what} holds no array")
    if key is None:
        raise InputError(f"{what} holds the arrays {', '.join(names)}; say which, as {place.name}:{names[0]}")
    raise InputError(f"{what} has no array {key!r}; {suggest(key, names)}")


def _of_zarr(what: str, place: Path) -> Any:
    import zarr  # it takes long to import, and few need it

    try:
        opened = zarr.open(place, mode="r")
        if isinstance(opened, zarr.Array):
            return opened[...]
        names = sorted(name for name, _ in opened.arrays())
    except _REASONS as error:
        raise _unreadable(what, "Zarr array", error) from None
    arrays = ", ".join(names) or "it has none"
    raise InputError(f"{what} is a group of Zarr; needed is the path of one of its arrays: {arrays}")


def _of_csv(what: str, place: Path) -> Array:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of an empty file, which is refused later
            return np.loadtxt(place, delimiter=",", encoding="utf-8-sig", comments=None, ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(_fault_of_csv(what, place) or f"{what}: {error}") from None


def _fault_of_csv(what: str, place: Path) -> str | None:
    """Return the first fault of a CSV file in words."""
    try:
        with place.open(encoding="utf-8-sig", newline="") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, ValueError, csv.Error) as error:
        return f"{what} cannot be read as CSV: {error}"
    for number, row in enumerate(rows, 1):
        for column, cell in enumerate(row, 1):
            if not _is_number(cell):
                header = "; a header row is not allowed, so delete it" if number == 1 else ""
                return f"{what}, row {number}, column {column}: {shown(cell)} is no number{header}"
        if len(row) != len(rows[0]):
            return f"{what}, row {number}: it has {len(row)} numbers, and row 1 has {len(rows[0])}"
    return None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(what: str, values: Any) -> Array:
    """Return the values of a file as numbers."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what} holds values of type {array.dtype}; needed are real numbers")
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        place = np.argwhere(~np.isfinite(numbers))[0].tolist()
        where = ", ".join(map(str, place))
        raise InputError(f"{what} is {numbers[tuple(place)]:g} at [{where}]; needed are finite numbers")
    return numbers


def _unreadable(what: str, form: str, error: Exception) -> InputError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if "allow_pickle" in reason:  # NumPy says this of every file that does not start as one of its own
        reason = "it is damaged, or holds objects of Python"
    return InputError(f"{what} is no {form} that can be read: {reason}")
