"""Matrices in files: the forms that are read, and one clear line for each that is not."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fastlin.errors import InputError
from fastlin.kinds.data_files import digest, read_matrix

VALUES = np.array([[1.5, -2.0, 3e-7], [0.1, 4.0, 1.0 / 3.0]])


def write(folder, name, values):
    """Write a matrix in the form of a file name, and return the path that a spec has."""
    path = folder / name.partition(":")[0]
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, **{name.partition(":")[2] or "only": values})
    elif path.suffix == ".csv":
        np.savetxt(path, np.atleast_2d(values), delimiter=",", fmt="%.17g")
    else:
        zarr.save_array(path, values)
    return name


FORMS = ["a.npy", "a.npz", "a.npz:x", "a.csv", "a.zarr"]


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_hold_the_same_numbers(tmp_path, form):
    read = read_matrix("task.x", write(tmp_path, form, VALUES), tmp_path)
    assert np.array_equal(read.values, VALUES)
    assert read.source == {"file": form, "sha256": digest(VALUES)}


@given(values=arrays(np.float64, array_shapes(min_dims=2, max_dims=2), elements=st.floats(-1e60, 1e60)))
def test_csv_keeps_bits(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("csv")
    assert read_matrix("x", write(folder, "a.csv", values), folder).values.tobytes() == values.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.bool_, ">f8"])
def test_numbers_of_any_type_become_float64(tmp_path, dtype):
    values = np.array([[0, 1], [1, 1]], dtype=dtype)
    np.save(tmp_path / "a.npy", values)
    read = read_matrix("x", "a.npy", tmp_path).values
    assert read.dtype == np.float64 and (read == values).all()


def test_a_vector_is_one_row_and_paths_may_be_absolute(tmp_path):
    write(tmp_path, "a.npy", VALUES[0])
    assert read_matrix("x", str(tmp_path / "a.npy"), Path("elsewhere")).values.shape == (1, 3)


def test_the_hash_is_of_sizes_and_values():
    assert digest(VALUES) == digest(VALUES.copy(order="F")) == digest(VALUES.astype(">f8"))
    assert len({digest(VALUES), digest(VALUES.T), digest(VALUES.reshape(1, -1)), digest(VALUES + 1e-15)}) == 4


def text(content):
    return lambda path: path.write_text(content, encoding="utf-8")


def save_open(path):
    with path.open("wb") as file:  # so that NumPy does not append .npy to the name
        np.save(file, VALUES)


def save_cut_short(path):
    np.savez(path, x=np.zeros((50, 50)))
    path.write_bytes(path.read_bytes()[:2000])


def save_flipped(path):
    np.savez(path, x=VALUES)
    content = bytearray(path.read_bytes())
    content[150] ^= 255
    path.write_bytes(content)


def save_damaged(path):
    zarr.save_array(path, VALUES)
    for chunk in (path / "c").rglob("0"):
        if chunk.is_file():
            chunk.write_bytes(b"damaged" * 9)


FAULTS = {
    "missing": ("a.npy", lambda path: None, "there is no such file in"),
    "long": (f"{'a' * 300}.npy", lambda path: None, "there is no such file in"),
    "short npz": ("a.npz", save_cut_short, "is no npz file that can be read"),
    "flipped npz": ("a.npz", save_flipped, "is no npz file that can be read"),
    "empty npz": ("a.npz", lambda path: np.savez(path), "holds no array"),
    "damaged array": ("a.zarr", save_damaged, "is no Zarr array that can be read"),
    "empty group": ("a.zarr", zarr.open_group, "needed is the path of one of its arrays: it has none"),
    "form": ("a.txt", text("1,2"), "is of an unknown form; needed is file.npy, file.npz:KEY"),
    "folder": ("a", Path.mkdir, "is of an unknown form"),
    "npy": ("a.npy", text("numbers"), "is no npy file that can be read: it is damaged, or holds objects"),
    "empty npy": ("a.npy", text(""), "is no npy file that can be read"),
    "npz": ("a.npz", text("numbers"), "is no npz file that can be read"),
    "npy as npz": ("a.npz", save_open, "is no npz file that can be read"),
    "several": ("a.npz", lambda path: np.savez(path, x=VALUES, y=VALUES), "holds the arrays x, y; say which"),
    "objects": (
        "a.npy",
        lambda path: np.save(path, np.array([{}])),
        "is damaged, or holds objects of Python",
    ),
    "texts": ("a.npy", lambda path: np.save(path, np.array(["a"])), "holds values of type <U1"),
    "complex": ("a.npy", lambda path: np.save(path, np.array([1j])), "holds values of type complex128"),
    "nan": ("a.npy", lambda path: np.save(path, [[0.0, 1.0], [np.nan, 1.0]]), "is nan at [1, 0]; needed are"),
    "inf": ("a.csv", text("1,2\n3,inf\n"), "is inf at [1, 1]; needed are finite numbers"),
    "cube": (
        "a.npy",
        lambda path: np.save(path, np.zeros((2, 2, 2))),
        "has shape (2, 2, 2); needed is a matrix",
    ),
    "none": ("a.npy", lambda path: np.save(path, np.zeros((0, 2))), "is empty, with shape (0, 2)"),
    "header": ("a.csv", text("age,size\n1,2\n"), "row 1, column 1: 'age' is no number; a header row is not"),
    "word": ("a.csv", text("1,2\n3,four\n"), "row 2, column 2: 'four' is no number"),
    "gap": ("a.csv", text("1,2\n3,\n"), "row 2, column 2: '' is no number"),
    "empty csv": ("a.csv", text(""), "is empty, with shape"),
    "ragged": ("a.csv", text("1,2\n3\n"), "row 2: it has 1 numbers, and row 1 has 2"),
    "group": (
        "a.zarr",
        lambda path: zarr.save_group(path, x=VALUES, y=VALUES),
        "is a group of Zarr; needed is the path of one of its arrays: x, y",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_file_is_one_clear_line(tmp_path, fault):
    name, make, message = FAULTS[fault]
    make(tmp_path / name)
    with pytest.raises(InputError) as error:
        read_matrix("task.x", name, tmp_path)
    assert str(error.value).startswith(f"task.x = {name!r}") and message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_key_lists_those_that_are_there(tmp_path):
    np.savez(tmp_path / "a.npz", inputs=VALUES, targets=VALUES)
    with pytest.raises(
        InputError, match=r"has no array 'input'; did you mean 'inputs'\? allowed: inputs, targets"
    ):
        read_matrix("task.x", "a.npz:input", tmp_path)


@pytest.mark.parametrize("file", [5, "", ["a.npy"], True])
def test_a_path_is_a_text(file):
    with pytest.raises(InputError, match=r"needed is file\.npy"):
        read_matrix("task.x", file, Path())
