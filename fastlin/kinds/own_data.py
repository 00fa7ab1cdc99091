"""Own data and own weights in the form that a spec keeps: JSON that holds their numbers."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.draws import Target
from fastlin.kernels.sizes import Sizes
from fastlin.kinds.data_files import digest, digest_of_labels
from fastlin.networks.network import Network
from fastlin.tasks.moments import InputKind
from fastlin.tasks.task import SigmaTask, Task
from fastlin.validation import shown

MAX_BYTES = 16_000_000  # of the statistics of a task, or of weights
SAMPLE_BYTES = 1_000_000  # of the samples that are kept beside the statistics

Name = str | int
Content = Mapping[str, Any]


class Own(Protocol):
    """A task or a network of the user."""

    @property
    def name(self) -> Name:
        """Value on the axis, if there are several."""

    @property
    def content(self) -> Content:
        """All that is kept, JSON-ready."""


Item = TypeVar("Item", bound=Own)


class KeptTask(Task):
    """A task with the statistics that were kept, and with its samples if they were."""

    def __init__(self, content: Content) -> None:
        (n_o, n_i), samples = content["shape"], content.get("n_samples", 0)
        shapes = {
            "sigma_yx": (n_o, n_i),
            "sigma_xx": (n_i, n_i),
            "whitening": (n_i, n_i),
            "x": (n_i, samples),
            "y": (n_o, samples),
            "x_mean": (n_i, 1),
            "y_mean": (n_o, 1),
        }
        arrays = {key: decode(content[key], shape) for key, shape in shapes.items() if key in content}
        self.sigma_yx, self.sigma_xx = arrays["sigma_yx"], arrays.get("sigma_xx", np.eye(n_i))
        self.sigma_yy_trace, self._floor = content["sigma_yy_trace"], content["floor"]
        self.whitening = arrays.get("whitening")
        self.labels = tuple(content["labels"]) if "labels" in content else None
        self._means = (arrays["x_mean"], arrays["y_mean"]) if "x_mean" in arrays else None
        self._samples, self._pair = samples, (arrays.get("x"), arrays.get("y"))

    @property
    def _source(self) -> str:
        return f"{self._samples} samples" if self._samples else "from statistics"

    @property
    def has_samples(self) -> bool:
        """Whether X and Y were kept."""
        return self._pair[0] is not None

    @property
    def n_samples(self) -> int:
        """Number of samples P, whether they were kept or not."""
        return self._samples or int(self.X.shape[1])

    @property
    def loss_floor(self) -> float:
        """The least loss of a linear map of X."""
        return float(self._floor)

    @property
    def X(self) -> Array:  # type: ignore[override]
        """Inputs (N_i, P)."""
        return self._kept(0)

    @property
    def Y(self) -> Array:  # type: ignore[override]
        """Targets (N_o, P)."""
        return self._kept(1)

    def _kept(self, which: int) -> Array:
        part = self._pair[which]
        if part is None:
            raise InputError(
                f"the samples of the task were not kept: a spec keeps at most {SAMPLE_BYTES:,} bytes of them"
            )
        return part

    def _with_inputs(self, matrix: Array) -> Task:
        if self.has_samples:
            return super()._with_inputs(matrix)
        return SigmaTask(self.sigma_yx, self.sigma_xx, self.loss_floor)._with_inputs(matrix)


@dataclass(frozen=True, eq=False)
class DataTask:
    """The law of a given task, which is the same for every seed.

    Attributes
    ----------
    task : Task
        The task.
    """

    task: Task

    @property
    def white(self) -> bool:
        """Whether the inputs are whitened."""
        return self.task.whitened

    @property
    def spans(self) -> bool:
        """Whether the inputs span all dimensions."""
        return self.task.moments.rank == self.task.n_i

    @property
    def inputs(self) -> InputKind:
        """The form of Sigma_xx, as of `Task`."""
        return self.task.inputs

    @property
    def n_samples(self) -> int | None:
        """Number of samples, None if they are not there."""
        return self.task.n_samples if self.task.has_samples else None

    def draw(self, seed: int, sizes: Sizes) -> Target:
        """Return the task, whatever the seed."""
        return Target(self.task.sigma_yx, self.task.loss_floor, None if self.white else self.task.sigma_xx)

    def obstacle(self, architecture: Architecture) -> str | None:
        """Return why the task does not fit an architecture, or None."""
        n_i, n_o = self.task.n_i, self.task.n_o
        if (n_i, n_o) == (architecture.n_i, architecture.n_o):
            return None
        return f"the data of the task have N_i = {n_i} inputs and N_o = {n_o} outputs"


@dataclass(frozen=True, eq=False)
class OwnTask:
    """A task of the user in the form that a spec keeps.

    Attributes
    ----------
    name : str or int
        Value on the axis "task", if there are several.
    content : mapping
        JSON-ready: the hash, the sizes and all arrays, compressed.
    """

    name: Name
    content: Content

    @cached_property
    def law(self) -> DataTask:
        """The law that draws the task."""
        return DataTask(KeptTask(self.content))

    @classmethod
    def of(
        cls, name: Name, task: Task, source: Content | None = None, identity: str | None = None
    ) -> OwnTask:
        """Return the form of a task.

        Parameters
        ----------
        name : str or int
        task : Task
        source : mapping, optional
            The files that it is from, and their hashes.
        identity : str, optional
            SHA-256 of the data, which is that of X and Y, or of the statistics without samples, by default.
            Labels are added to it.

        Raises
        ------
        InputError
            If the statistics are too large, or the task is one of `lora`, whose frozen map is not kept.
        """
        if task.learning_rates is not None:
            raise InputError(
                "the task is one of fastlin.lora; needed is the task that fastlin.lora is given, and "
                "init.kind 'lora' draws the adapters"
            )
        arrays = {"sigma_yx": task.sigma_yx}
        if not np.array_equal(task.sigma_xx, np.eye(task.n_i)):
            arrays["sigma_xx"] = task.sigma_xx
        if task.whitening is not None:
            arrays["whitening"] = task.whitening
        _check_bytes("the statistics of the task", arrays)
        content: dict[str, Any] = {"shape": [task.n_o, task.n_i]}
        content |= {"floor": task.loss_floor, "sigma_yy_trace": float(task.sigma_yy_trace)}
        if task.has_samples:
            samples = {"x": task.X, "y": task.Y}
            identity = identity or digest(task.X, task.Y)
            content["n_samples"] = task.n_samples
            small = sum(part.nbytes for part in samples.values()) <= SAMPLE_BYTES
            arrays |= samples if small else {}
            if task.labels is not None:
                identity = digest_of_labels((identity, digest_of_labels(task.labels)))
                content |= {"labels": list(task.labels)} if small else {}
        if task.x_mean.any() or task.y_mean.any():
            arrays |= {"x_mean": task.x_mean, "y_mean": task.y_mean}
        identity = identity or digest(task.sigma_yx, task.sigma_xx, np.array([task.loss_floor]))
        return cls(name, _content(name, identity, source, content, arrays))

    @classmethod
    def read(cls, place: str, content: Content) -> OwnTask:
        """Return the form that `content` is. `place` names it in messages.

        Raises
        ------
        InputError
            If it is no such form.
        """
        own = cls(content.get("name", 0), content)
        _check_form(place, lambda: own.law)
        return own


@dataclass(frozen=True, eq=False)
class GivenWeights:
    """The law of given weights, which are the same for every seed. init_scale multiplies both layers."""

    w1: Array  # (N_h, N_i)
    w2: Array  # (N_o, N_h)
    power: ClassVar[int] = 2

    def weights(self, seed: int, sizes: Sizes) -> tuple[Array, Array]:
        """Return W1 (N_h, N_i) and W2 (N_o, N_h), whatever the seed."""
        return self.w1, self.w2

    def product(self, seed: int, sizes: Sizes) -> Array:
        """Return the product W2 W1 (N_o, N_i)."""
        return self.w2 @ self.w1

    def obstacle(self, architecture: Architecture) -> str | None:
        """Return why the weights do not fit an architecture, or None."""
        given = Architecture(self.w1.shape[1], *self.w2.shape[::-1])
        return None if given == architecture else f"the weights of the start are those of {given}"


@dataclass(frozen=True, eq=False)
class OwnNetwork:
    """Start weights of the user in the form that a spec keeps.

    Attributes
    ----------
    name : str or int
        Value on the axis "init_network", if there are several.
    content : mapping
        JSON-ready: the hash, the sizes and both layers, compressed.
    """

    name: Name
    content: Content

    @cached_property
    def law(self) -> GivenWeights:
        """The law that gives the weights."""
        n_o, n_h, n_i = self.content["shape"]
        return GivenWeights(
            decode(self.content["w1"], (n_h, n_i)),
            decode(self.content["w2"], (n_o, n_h)),
        )

    @classmethod
    def of(cls, name: Name, net: Network, source: Content | None = None) -> OwnNetwork:
        """Return the form of the weights of a network, from some files if `source` names them."""
        arrays, shape = {"w1": net.w1, "w2": net.w2}, net.architecture
        _check_bytes("the weights", arrays)
        content = {"shape": [shape.n_o, shape.n_h, shape.n_i]}
        return cls(name, _content(name, digest(net.w1, net.w2), source, content, arrays))

    @classmethod
    def read(cls, place: str, content: Content) -> OwnNetwork:
        """Return the form that `content` is, see `OwnTask.read`."""
        own = cls(content.get("name", 0), content)
        _check_form(place, lambda: own.law)
        return own


class OwnItems(Mapping[Name, Item], Generic[Item]):
    """Tasks or networks of a spec by their names: one, or those of an axis.

    Attributes
    ----------
    axis : bool
        Whether they are the values of an axis.

    Raises
    ------
    InputError
        If two of them have one name.
    """

    def __init__(self, items: Sequence[Item], axis: bool) -> None:
        self._items, self.axis = {item.name: item for item in items}, axis
        if len(self._items) < len(items):
            names = [item.name for item in items]
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"own data have the name {twice!r} twice; needed are different names on an axis")

    def __getitem__(self, name: Name) -> Item:
        """Return the one of a name."""
        return self._items[name]

    def __iter__(self) -> Iterator[Name]:
        """Iterate over the names."""
        return iter(self._items)

    def __len__(self) -> int:
        """Return their number."""
        return len(self._items)

    @property
    def names(self) -> Any:
        """The name of the one, or the names on the axis as an array."""
        return np.array(list(self)) if self.axis else next(iter(self))

    @property
    def content(self) -> Any:
        """The form that a spec keeps, JSON-ready, or the list of those on an axis."""
        contents = [item.content for item in self.values()]
        return contents if self.axis else contents[0]

    def united(self, other: OwnItems[Item]) -> OwnItems[Item]:
        """Return these and those of another one whose names are new."""
        new = [item for name, item in other.items() if name not in self]
        return OwnItems([*self.values(), *new], self.axis)


def identity(content: Any) -> Any:
    """Return the name and the hash of a form that a spec keeps, or of each of a list."""
    if isinstance(content, list):
        return [identity(item) for item in content]
    return {key: content[key] for key in ("name", "sha256") if key in content}


def changes(section: str, before: OwnItems[Any], after: OwnItems[Any]) -> list[str]:
    """Return one line for each difference that keeps the data of a spec from those of a store."""
    if before.axis != after.axis:
        kinds = ("one", "a list")
        return [f"{section}: the store has {kinds[before.axis]}, the spec {kinds[after.axis]}"]
    lines = []
    for name, own in before.items():
        if name not in after:
            lines.append(f"{section}: the store has {name!r}, which the spec lacks")
        elif own.content["sha256"] != after[name].content["sha256"]:
            lines += _changed(section, own.content, after[name].content)
    return lines


def clashes(section: str, first: OwnItems[Any], second: OwnItems[Any], names: tuple[str, str]) -> list[str]:
    """Return one line for each difference that keeps the data of two specs from lying on one axis."""
    one, other = names
    if first.axis != second.axis:
        kinds = ("one", "a list")
        return [f"{section}: {one} has {kinds[first.axis]}, {other} {kinds[second.axis]}"]
    return [
        f"{section}: {one} and {other} have different data" + (f" of the name {name!r}" if first.axis else "")
        for name, own in first.items()
        if name in second and own.content["sha256"] != second[name].content["sha256"]
    ]


def _changed(section: str, old: Content, new: Content) -> list[str]:
    """Return one line for each file that has changed, or one that other data are given."""
    now, then = new.get("source", {}), old.get("source", {})
    files = [key for key in ("x", "y", "labels", "w1", "w2") if now.get(key) != then.get(key)]
    if not files or not now or not then:
        return [
            f"{section}: the sha256 of what is given begins with {new['sha256'][:8]}, "
            f"that of what the store was made from with {old['sha256'][:8]}"
        ]
    return [f"{section}.{key}: {_change(now.get(key), then.get(key))}" for key in files]


def _change(now: Content | None, then: Content | None) -> str:
    """Return the change of a file in words."""
    if now is None or then is None:
        given, of_store = (part["file"] if part else "no file" for part in (now, then))
        return f"{given} is given, and the store was made with {of_store}"
    return (
        f"{now['file']} has changed; its sha256 begins with {now['sha256'][:8]}, and that of {then['file']}, "
        f"of which the store was made, with {then['sha256'][:8]}"
    )


def encode(array: Array) -> str:
    """Return the base64 text of the compressed little-endian doubles of an array."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array, "<f8").tobytes(), 9)).decode()


def decode(text: str, shape: tuple[int, ...]) -> Array:
    """Return the array of `encode`."""
    values = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), "<f8")
    return values.astype(np.float64).reshape(shape)


def _content(
    name: Name, sha256: str, source: Content | None, numbers: Content, arrays: Mapping[str, Array]
) -> Content:
    """Return the content of a form."""
    where = {"source": source} if source else {}
    encoded = {key: encode(array) for key, array in arrays.items()}
    return {"name": name, "sha256": sha256, **where, **numbers, **encoded}


def _check_bytes(what: str, arrays: Mapping[str, Array]) -> None:
    size = sum(array.nbytes for array in arrays.values())
    if size > MAX_BYTES:
        raise InputError(f"{what} are {size / 1e6:.0f} MB; a spec holds at most {MAX_BYTES / 1e6:.0f} MB")


def _check_form(place: str, law: Callable[[], Any]) -> None:
    try:
        law()
    except (KeyError, TypeError, ValueError, zlib.error, binascii.Error) as error:
        raise InputError(f"{place} is none that fastlin has written: {shown(str(error))}") from None
