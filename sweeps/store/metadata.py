"""The metadata of a store: the documents that zarr reads first (`zarr.json`), and the coordinates.

The root document is written last and is the one that counts: it holds the specs, from which everything
else follows, the metadata of all arrays (consolidated, so a reader sees a store before or after it grew and
never in between), and the checksums of the other documents. A copy of it lies out of zarr's sight.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.buffer import Buffer
from zarr.codecs import Crc32cCodec, TransposeCodec, ZstdCodec
from zarr.storage import MemoryStore

from fastlin.errors import InputError
from fastlin.observables.registry import TIME_ATTRIBUTES
from fastlin.sweeps.spec.points import POINT, SECTION, PointTable, is_reference
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.spec.table import KIND_SECTIONS
from fastlin.sweeps.store.array_spec import SEPARATOR, ArraySpec
from fastlin.sweeps.store.codec import ZSTD_LEVEL
from fastlin.sweeps.store.contents import layout_of
from fastlin.sweeps.store.layout import STATUS, BlockShape, StoreLayout
from fastlin.sweeps.store.location import SCRATCH, Location

ROOT = "zarr.json"
ROOT_COPY = f"{SCRATCH}/zarr.json"
FORMAT = 4  # of stores; raised when an older fastlin could not read them
TABLE = f"{SCRATCH}/points"  # the table of points of a spec that names it by its hash
SHORTEST_CHUNK = 1024  # of coordinates, so that an axis that grows stays in few files
SHORTEST_COLUMN = 8192  # of coordinates of a table of points
FIXED = ("statistic", "bin_left", "bin_right")  # coordinates that never grow

AXIS_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "architecture": {"long_name": "sizes n_i-n_h-n_o of the architecture"},
    "n_i": {"long_name": "number of inputs", "units": "1"},
    "n_h": {"long_name": "number of hidden units", "units": "1"},
    "n_o": {"long_name": "number of outputs", "units": "1"},
    "init_scale": {"long_name": "scale of the weights before balancing", "units": "1"},
    "solver": {"long_name": "closed form (exact), gradient flow to a tolerance (flow) or gradient descent"},
    "learning_rate": {"long_name": "learning rate of gradient descent", "units": "1"},
    "kappa": {"long_name": "two-sided balance, Q (D - lam I) Q^T = -kappa^2 J", "units": "1"},
    "rate_ratio": {"long_name": "learning rate of W2 over that of W1", "units": "1"},
    "noise_seed": {"long_name": "seed of minibatches and label noise"},
    "task": {"long_name": "name of the task"},
    "init_network": {"long_name": "name of the network whose weights are the start"},
    "seed": {"long_name": "seed of task and initialisation"},
    "seed_block": {"long_name": "first of the seeds, in the order stored, that are folded together"},
    "lam": {"long_name": "relative scale of the layers, W2^T W2 - W1 W1^T = lam I", "units": "1"},
    "point": {"long_name": "row in the table of points"},
    "layer": {"long_name": "layer of weights"},
    "statistic": {"long_name": "statistic over the seeds that are ok"},
    "bin_left": {"long_name": "left edge of the bins of a histogram", "units": "1"},
    "bin_right": {"long_name": "right edge of the bins of a histogram", "units": "1"},
    "time": {
        **TIME_ATTRIBUTES,
        "comment": "gradient descent is recorded at the nearest whole step, round(time / learning_rate)",
    },
}

Documents = dict[str, bytes]

# Attributes that are JSON text in the root document, because netCDF knows no mappings.
_TEXTS = ("spec", "grown_from", "block_shape", "versions", "earlier_versions", "documents")


def encode_metadata(layout: StoreLayout, made_with: list[dict[str, str]]) -> Documents:
    """Return all documents of a store, the root last. `made_with` are the versions that wrote it."""
    files: dict[str, Buffer] = {}
    group = zarr.create_group(MemoryStore(files), zarr_format=3)
    # As the store was made: a reader of it must find its chunks while they are replaced by longer axes.
    first = layout_of(layout.specs[:1], layout.block_shape).axes
    attributes = AXIS_ATTRIBUTES | _parameter_attributes(layout.spec)
    for name, (dims, values) in layout.axes.items():
        shortest = 1 if name in FIXED else SHORTEST_COLUMN if dims == (POINT,) else SHORTEST_CHUNK
        _put_axis(group, name, dims, values, max(shortest, first[name][1].size), attributes.get(name, {}))
    for name, form in {**layout.values, **layout.statistics, STATUS: layout.status}.items():
        _put_array(group, name, form)
    content = {key: value.to_bytes() for key, value in sorted(files.items()) if key != ROOT}
    names = sorted(key.removesuffix("/zarr.json") for key in content if key.endswith("/zarr.json"))
    if layout.spec.table and layout.spec.table.by_reference:
        content[TABLE] = layout.spec.table.to_bytes()
    auxiliary = [name for name, (dims, _) in layout.points.coordinates.items() if dims != (name,)]
    entries = {
        "title": layout.spec.name,
        "coordinates": " ".join(auxiliary),
        "format": FORMAT,
        "spec": layout.spec.to_dict(),
        "spec_hash": layout.spec.hash,
        "grown_from": [spec.to_dict() for spec in layout.specs[:-1]],
        "block_shape": layout.block_shape.to_dict(),
        "compacted": int(layout.compacted),  # netCDF has no truth values
        "versions": made_with[-1],
        "earlier_versions": made_with[:-1],
        "documents": {key: _digest(value) for key, value in sorted(content.items())},
    }
    root = {
        "attributes": entries | {name: json.dumps(entries[name], allow_nan=False) for name in _TEXTS},
        "zarr_format": 3,
        "node_type": "group",
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": {name: json.loads(content[f"{name}/zarr.json"]) for name in names},
        },
    }
    sealed = _sealed(root)
    return {**content, ROOT_COPY: sealed, ROOT: sealed}


def _parameter_attributes(spec: Spec) -> dict[str, dict[str, Any]]:
    """Return the attributes of the coordinates that parameters of tasks and starts make."""
    attributes: dict[str, dict[str, Any]] = {}
    for section in KIND_SECTIONS.values():
        parameters = getattr(spec, section.field).kind.parameters
        docs = {section.prefix + key: parameter.doc for key, parameter in parameters.items()}
        attributes |= {name: {"long_name": docs[name]} for name in section.axes(spec) if name in docs}
    return attributes


def _put_axis(
    group: zarr.Group,
    name: str,
    dims: tuple[str, ...],
    values: NDArray[Any],
    chunk: int,
    attributes: dict[str, Any],
) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=(chunk,),
        dtype="str" if values.dtype.kind == "U" else values.dtype,
        compressors=[Crc32cCodec()],
        chunk_key_encoding={"name": "default", "separator": SEPARATOR},
        dimension_names=dims,
        attributes=attributes,
    )
    array[...] = values


def _put_array(group: zarr.Group, name: str, form: ArraySpec) -> None:
    dims = form.explicit(form.dims)
    rank = len(dims)
    last_first = TransposeCodec(order=(rank - 1, *range(rank - 1)))
    group.create_array(
        name,
        shape=form.explicit(form.shape),
        chunks=form.explicit(form.chunk),
        dtype=form.dtype,
        fill_value=form.fill,
        filters=[last_first] if form.compressed else None,
        compressors=[*([ZstdCodec(level=ZSTD_LEVEL)] if form.compressed else []), Crc32cCodec()],
        chunk_key_encoding={"name": "default", "separator": SEPARATOR},
        dimension_names=dims,
        attributes=form.attributes,
    )


def _sealed(root: dict[str, Any]) -> bytes:
    """Return a root document with the checksum of the rest of it."""
    attributes = {key: value for key, value in root["attributes"].items() if key != "checksum"}
    content = {**root, "attributes": attributes}
    attributes["checksum"] = _digest(json.dumps(content, sort_keys=True).encode())
    return json.dumps(content, indent=1).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def intact(key: str, content: bytes | None, attributes: dict[str, Any]) -> bool:
    """Return whether a document has the checksum that the root document holds for it."""
    return content is not None and _digest(content) == attributes["documents"].get(key)


def read_root(content: bytes | None) -> dict[str, Any] | None:
    """Return the attributes of a root document, or None where it is not one to the last bit."""
    try:
        root = json.loads(content or b"")
        if content == _sealed(root):
            attributes = dict(root["attributes"])
            texts = _TEXTS if attributes["format"] == FORMAT else ()
            return attributes | {name: json.loads(attributes[name]) for name in texts}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return None


def read_attributes(location: Location) -> tuple[dict[str, Any], bytes]:
    """Return the attributes of the store at a location, and its whole root document.

    Raises
    ------
    InputError
        If there is no store, it is no store of fastlin, or its root document is damaged.
    """
    content = location.read(ROOT)
    attributes = read_root(content)
    if attributes is not None and content is not None and attributes.get("format") == FORMAT:
        return attributes, content
    if not location.exists():
        raise InputError(f"there is no store at {location.text}")
    if attributes is not None:
        raise InputError(
            f"{location.text} is a store of format {attributes.get('format')}, this fastlin reads {FORMAT}; "
            "run its spec again into another store"
        )
    copy = location.read(ROOT_COPY)
    if read_root(copy) is not None:
        raise InputError(f"{location.text}: {ROOT} is damaged; fastlin repair {location.text} mends it")
    if copy is not None or (content is not None and next(location.entries(SCRATCH), None) is not None):
        raise InputError(
            f"{location.text}: both copies of {ROOT} are damaged, and with them what the store is of"
        )
    raise InputError(_no_store_of_fastlin(location.text, content, location.read(".zgroup")))


def _no_store_of_fastlin(path: str, content: bytes | None, version_2: bytes | None) -> str:
    with suppress(ValueError, KeyError, TypeError):
        if json.loads(version_2 or content or b"")["zarr_format"]:
            return (
                f"{path} is a Zarr store, but not one of a fastlin sweep of format {FORMAT}; "
                "xarray.open_zarr opens copies that xarray saved"
            )
    return f"{path} is not a Zarr store"


def read_layout(attributes: dict[str, Any], location: Location) -> StoreLayout:
    """Return the layout that the attributes of the store at a location describe.

    Raises
    ------
    InputError
        If its table of points is lost.
    """
    contents = [*attributes["grown_from"], attributes["spec"]]
    table = _read_table(location, contents[-1])
    specs = [Spec.from_dict(_with_rows(content, table)) for content in contents]
    return layout_of(
        tuple(specs), BlockShape.from_dict(attributes["block_shape"]), bool(attributes["compacted"])
    )


def _with_rows(content: dict[str, Any], table: PointTable | None) -> dict[str, Any]:
    """Return the content of a spec with the rows of the table that it names by its hash."""
    if table is None or not is_reference(content.get(SECTION)):
        return content
    return content | {SECTION: table.head(content[SECTION]["num"])}


def _read_table(location: Location, content: dict[str, Any]) -> PointTable | None:
    """Return the table of points that a spec names by its hash, from its document or the coordinates.

    A document that is newer than the root document has more rows.
    """
    reference = content.get(SECTION, {})
    if not is_reference(reference):
        return None
    for read in (_table_of_document, _table_of_coordinates):
        with suppress(ValueError, KeyError, TypeError, OSError):
            table = read(location, reference["columns"]).head(reference["num"])
            if table.sha256 == reference["sha256"]:
                return table
    raise InputError(
        f"{location.text}: the table of points is damaged in both places, {TABLE} and its coordinates"
    )


def _table_of_document(location: Location, _columns: list[str]) -> PointTable:
    return PointTable.from_bytes(location.read(TABLE) or b"")


def _table_of_coordinates(location: Location, columns: list[str]) -> PointTable:
    group = zarr.open_group(location.for_zarr(), mode="r", zarr_format=3)

    def values(name: str) -> NDArray[Any]:
        array = group[name]
        assert isinstance(array, zarr.Array)
        return np.asarray(array[...])

    order = np.argsort(values(POINT), kind="stable")
    return PointTable({name: values(name)[order] for name in columns})


def write_metadata(location: Location, content: Documents) -> None:
    """Bring the documents of a store to `content`, the root last. Documents that are right stay."""
    for key, value in content.items():
        if location.read(key) != value:
            location.write(key, value)
