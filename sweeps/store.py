"""The Zarr store of a sweep: its arrays, one chunk of each per block, and the commit mark.

`status` is written last, and replaced as a whole by an atomic rename, so a block whose chunk of `status`
holds no PENDING is complete: the store alone says what is done.
"""

import os
import platform
import shutil
import uuid
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from fastlin.dynamics import TIME_ATTRIBUTES
from fastlin.errors import InputError, shown
from fastlin.kernels import Status
from fastlin.kernels.jit import SOURCE_HASH
from fastlin.observables import REGISTRY
from fastlin.sweeps.spec import Spec, differences

STATUS_ATTRIBUTES: dict[str, Any] = {
    "long_name": "what became of each point; 0 until its block is complete",
    "flag_values": [int(status) for status in Status],
    "flag_meanings": " ".join(status.name.lower() for status in Status),
}
SIZES = ("n_i", "n_h", "n_o")
AXIS_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "architecture": {"long_name": "index of the architecture (n_i, n_h, n_o)"},
    "n_i": {"long_name": "number of inputs", "units": "1"},
    "n_h": {"long_name": "number of hidden units", "units": "1"},
    "n_o": {"long_name": "number of outputs", "units": "1"},
    "init_scale": {"long_name": "scale of the weights before balancing", "units": "1"},
    "method": {
        "long_name": "closed form (exact) or gradient descent",
        "comment": 'select with .sel({"method": "exact"}): .sel(method=...) is an argument of xarray',
    },
    "learning_rate": {"long_name": "learning rate of gradient descent", "units": "1"},
    "seed": {"long_name": "seed of task and initialisation"},
    "lam": {"long_name": "relative scale of the layers, W2^T W2 - W1 W1^T = lam I", "units": "1"},
    "layer": {"long_name": "layer of weights"},
    "time": {
        **TIME_ATTRIBUTES,
        "comment": "gradient descent is recorded at the nearest whole step, round(time / learning_rate)",
    },
}


def local_path(path: str | Path) -> str:
    """Return `path` as text if it can be that of a store.

    Raises
    ------
    InputError
        If it is no path, is empty, or is an address.
    """
    text = str(path) if isinstance(path, str | Path) else ""
    if not text or "\0" in text or "://" in text:
        raise InputError(f"the store is {shown(path)}; needed is the path of a folder on this machine")
    return text


def exists(path: str) -> bool:
    """Tell whether there is anything at `path`."""
    return os.path.lexists(path)


def create(path: str, spec: Spec, chunk: tuple[int, ...]) -> None:
    """Create a store with every array of a sweep, all points pending.

    It is built beside its place and renamed, so a store is there with all its arrays or not at all.

    Raises
    ------
    InputError
        If the place cannot be written.
    """
    target = Path(path)
    building = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _build(building, spec, chunk)
        os.rename(building, target)
    except OSError as error:
        raise InputError(f"cannot create the store {path}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _build(path: Path, spec: Spec, chunk: tuple[int, ...]) -> None:
    attributes = {
        "title": spec.name,
        "coordinates": "n_i n_h n_o",
        "spec": spec.to_dict(),
        "spec_hash": spec.hash,
        "versions": versions(),
    }
    group = zarr.create_group(str(path), zarr_format=3, attributes=attributes)

    def put(name: str, dims: tuple[str, ...], values: NDArray[Any]) -> None:
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=values.shape,
            dtype="str" if values.dtype.kind == "U" else values.dtype,
            compressors=[Crc32cCodec()],
            dimension_names=dims,
            attributes=AXIS_ATTRIBUTES[name],
        )
        array[...] = values

    for name, values in _axes(spec).items():
        put(name, ("architecture",) if name in SIZES else (name,), values)
    points = tuple(spec.point_dims)
    sizes = tuple(spec.point_dims.values())
    for name in spec.observables:
        entry = REGISTRY[name]
        extra = _layers(name)
        group.create_array(
            name,
            shape=(*sizes, spec.times.size, *extra),
            chunks=(*chunk, spec.times.size, *extra),
            dtype=spec.dtype,
            fill_value=np.nan,
            compressors=[Crc32cCodec()],
            dimension_names=(*points, "time", *entry.dims),
            attributes=entry.attributes,
            config={"write_empty_chunks": True},
        )
    group.create_array(
        "status",
        shape=sizes,
        chunks=chunk,
        dtype="uint8",
        fill_value=int(Status.PENDING),
        compressors=[Crc32cCodec()],
        dimension_names=points,
        attributes=STATUS_ATTRIBUTES,
        config={"write_empty_chunks": True},
    )


def _axes(spec: Spec) -> dict[str, NDArray[Any]]:
    """Return the values of every axis of a store, by name."""
    shapes = spec.architectures
    axes: dict[str, NDArray[Any]] = {"architecture": np.arange(len(shapes))}
    axes |= {name: np.array([getattr(shape, name) for shape in shapes]) for name in SIZES}
    axes["init_scale"] = spec.init_scales
    if spec.method_axis:
        axes["method"] = np.array(spec.methods)
    if spec.learning_rate_axis:
        axes["learning_rate"] = spec.learning_rates
    axes |= {"seed": spec.seeds, "lam": spec.lams, "time": spec.times}
    if any(_layers(name) for name in spec.observables):
        axes["layer"] = np.array(["w1", "w2"])
    return axes


def _layers(name: str) -> tuple[int, ...]:
    """Return the sizes of an observable's dimensions after time."""
    entry = REGISTRY[name]
    return (len(entry.rows),) if entry.dims else ()


def versions() -> dict[str, str]:
    """Return the versions of all that a number in a store depends on."""
    packages = ("fastlin", "numba", "numpy", "scipy", "zarr")
    return {
        **{name: version(name) for name in packages},
        "kernels": SOURCE_HASH,
        "python": platform.python_version(),
    }


@lru_cache(maxsize=8)
def _group(path: str) -> zarr.Group:
    return zarr.open_group(path, mode="r+")


def write(
    path: str,
    region: tuple[slice, ...],
    values: dict[str, NDArray[np.floating[Any]]],
    status: NDArray[np.uint8],
) -> None:
    """Write one block: its chunk of every observable, then of `status`."""
    group, ones = _group(path), (1,) * (len(region) - 2)
    for name, part in [*values.items(), ("status", status)]:
        array = group[name]  # read anew: the path may hold another store than it did
        assert isinstance(array, zarr.Array)
        array[region] = part.reshape(ones + part.shape)


def read_attributes(path: str) -> dict[str, Any]:
    """Return the attributes of a store.

    Raises
    ------
    InputError
        If there is no store of a sweep at `path`.
    """
    if not exists(path):
        raise InputError(f"there is no store at {path}")
    try:
        attributes = dict(zarr.open_group(path, mode="r").attrs)
    except (OSError, ValueError, KeyError, TypeError, zarr.errors.BaseZarrError):
        raise InputError(f"{path} is not a Zarr store") from None
    if not {"spec", "spec_hash", "title", "versions"} <= attributes.keys():
        raise InputError(f"{path} is a Zarr store, but not one of a fastlin sweep")
    return attributes


def read_spec(path: str) -> Spec:
    """Return the spec that a store was made from, after checking that all its arrays are there.

    Raises
    ------
    InputError
        If there is no store, or an array is missing, of another shape, or an axis has other values.
    """
    attributes = read_attributes(path)
    try:
        spec = Spec.from_dict(attributes["spec"])
    except InputError as error:
        raise InputError(f"{path}: the spec in its attributes is damaged: {error}") from None
    group = zarr.open_group(path, mode="r")
    for name, values in _axes(spec).items():
        if not np.array_equal(_read(path, group, name, values.shape), values):
            raise InputError(f"{path}: the axis {name!r} is damaged, its values are not those of the spec")
    for name in (*spec.observables, "status"):
        extra = () if name == "status" else (spec.times.size, *_layers(name))
        _array(path, group, name, (*spec.point_dims.values(), *extra))
    return spec


def _array(path: str, group: zarr.Group, name: str, shape: tuple[int, ...]) -> "zarr.Array[Any]":
    try:
        array = group[name]
    except (KeyError, OSError, ValueError, TypeError):
        raise InputError(f"{path}: the array {name!r} is missing or damaged") from None
    if not isinstance(array, zarr.Array) or array.shape != shape:
        raise InputError(f"{path}: the array {name!r} has not the shape {shape} of the spec")
    return array


def _read(path: str, group: zarr.Group, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    array = _array(path, group, name, shape)
    try:
        return np.asarray(array[...])
    except (ValueError, OSError, TypeError):
        raise InputError(f"{path}: the axis {name!r} is damaged, its chunk cannot be read") from None


def check_same(path: str, spec: Spec) -> None:
    """Raise, with the differences, if the store at `path` was made from another spec."""
    attributes = read_attributes(path)
    if attributes["spec_hash"] != spec.hash:
        lines = differences(attributes["spec"], spec.to_dict())
        raise InputError(
            f"the store {path} was made from another spec; choose another --store, or mend the spec:\n"
            + "\n".join(f"  {line}" for line in lines)
        )


def read_status(path: str) -> "zarr.Array[Any]":
    """Return the `status` array of a store, unread."""
    array = zarr.open_group(path, mode="r")["status"]
    assert isinstance(array, zarr.Array)
    return array
