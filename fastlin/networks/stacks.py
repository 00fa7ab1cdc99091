"""Stacks of networks and of tasks with named leading dimensions, and their combination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlin.architecture import Architecture
from fastlin.dimensions import Stacked, place_of
from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.networks.balances import Balances, read_balances
from fastlin.networks.network import Network
from fastlin.tasks.arrays import TaskArrays
from fastlin.tasks.task import Task
from fastlin.validation import check_array, check_instance, shown
from fastlin.weights.balance import MAX_WEIGHT


class Networks(Stacked):
    """A stack of networks of one architecture, with named leading dimensions.

    `balanced_init` and `random_init` return one where an argument is a list. Indexing by position, as
    ``nets[3]``, ``nets[:, 0]`` or ``nets.isel(seed=3)``, gives a stack, or a `Network` where all dimensions
    have a number.

    Parameters
    ----------
    w1 : array_like, (..., N_h, N_i)
        Input weights.
    w2 : array_like, (..., N_o, N_h)
        Output weights, of the same leading dimensions.
    lam, kappa : array_like, (...), optional
        The balances, both or none. By default they are determined from the weights.
    dims : str or sequence of str, optional
        Names of the leading dimensions. A single one is "network" by default.
    coords : mapping of str to array_like, optional
        Coordinates of dimensions.

    Attributes
    ----------
    w1, w2 : ndarray
        The weights.
    lam, kappa : ndarray, (...)
        The balances, NaN where weights have none.
    balance : ndarray of str, (...)
        "strict", "support", "two-sided" or "none" (see `Network`).
    dims, shape, coords
        Names, sizes and coordinates of the leading dimensions.

    Raises
    ------
    InputError
        If shapes do not fit, entries are not finite, or given balances are not those of the weights.

    Examples
    --------
    >>> nets = fl.balanced_init(fl.Architecture(4, 2, 4), lam=[-1.0, 0.0, 1.0], seed=range(5))
    >>> nets.sizes, nets.w1.shape
    ({'seed': 5, 'lam': 3}, (5, 3, 2, 4))
    >>> nets.isel(seed=2)
    <Networks 4-2-4 (lam: 3)>
    >>> nets[2, 0].lam
    -1.0
    """

    def __init__(
        self,
        w1: ArrayLike,
        w2: ArrayLike,
        lam: ArrayLike | None = None,
        kappa: ArrayLike | None = None,
        *,
        dims: str | Sequence[str] | None = None,
        coords: Mapping[str, Any] | None = None,
    ) -> None:
        self.w1 = check_array("w1", w1, "(..., N_h, N_i)")
        self.w2 = check_array("w2", w2, "(..., N_o, N_h)")
        if self.w1.shape[:-2] != self.w2.shape[:-2] or self.w1.shape[-2] != self.w2.shape[-1]:
            raise InputError(
                f"w1 {self.w1.shape} and w2 {self.w2.shape} do not fit; needed are (..., N_h, N_i) and "
                "(..., N_o, N_h)"
            )
        self._set_dimensions(self.w1.shape[:-2], dims, coords, "network")
        given = (
            None
            if lam is None or kappa is None
            else (self._numbers("lam", lam), self._numbers("kappa", kappa))
        )
        if given is None and (lam is not None or kappa is not None):
            raise InputError("one of lam and kappa is given; needed are both, or none")
        self._set_balance(self._checked(given))

    def _numbers(self, name: str, value: ArrayLike) -> Array:
        numbers = check_array(name, value, "(...)")
        if numbers.shape != self.shape:
            raise InputError(f"{name} has shape {numbers.shape}; needed is {self.shape}")
        return numbers.ravel()

    def _checked(self, given: tuple[Array, Array] | None) -> Balances:
        """Return the balances. Raise the error of `Network` for the first element that has one."""
        w1, w2 = self._flat
        largest = np.maximum(np.abs(w1).max(axis=(-2, -1)), np.abs(w2).max(axis=(-2, -1)))
        for place in np.flatnonzero(largest > MAX_WEIGHT):
            with located(self.at(int(place))):
                Network(w1[place], w2[place])
        balances = read_balances(w1, w2, *(given or ()))
        if given is None:
            return balances
        for place in np.flatnonzero(balances.kind == "none"):
            with located(self.at(int(place))):
                Network(w1[place], w2[place], float(given[0][place]), float(given[1][place]))
        return balances

    def _set_balance(self, balances: Balances) -> None:
        self.lam: Array = balances.lam.reshape(self.shape)
        self.kappa: Array = balances.kappa.reshape(self.shape)
        self.balance: NDArray[np.str_] = balances.kind.reshape(self.shape)

    @property
    def _flat(self) -> tuple[Array, Array]:
        """The weights (P, N_h, N_i) and (P, N_o, N_h)."""
        return self.w1.reshape(-1, *self.w1.shape[-2:]), self.w2.reshape(-1, *self.w2.shape[-2:])

    @property
    def architecture(self) -> Architecture:
        """Sizes of the networks."""
        return Architecture(self.w1.shape[-1], self.w1.shape[-2], self.w2.shape[-2])

    @classmethod
    def of(cls, nets: Sequence[Network]) -> Networks:
        """Return the stack of some networks of one architecture, with the dimension "network".

        Parameters
        ----------
        nets : sequence of Network
            At least one.

        Returns
        -------
        Networks

        Raises
        ------
        InputError
            If an element is no network, or their architectures differ.

        Examples
        --------
        >>> nets = [fl.balanced_init(fl.Architecture(3, 2, 3), lam=lam) for lam in (-1.0, 1.0)]
        >>> fl.Networks.of(nets)
        <Networks 3-2-3 (network: 2)>
        """
        _check_sequence("networks", nets)
        nets = nets.ravel().tolist() if isinstance(nets, np.ndarray) else nets
        for index, net in enumerate(nets):
            check_instance(f"networks[{index}]", net, Network, "balanced_init or Network(w1, w2)")
            if net.architecture != nets[0].architecture:
                raise InputError(
                    f"networks[{index}] is {net.architecture} and networks[0] is {nets[0].architecture}; "
                    "needed is one architecture"
                )
        return cls._of(nets, (len(nets),))

    @classmethod
    def _of(cls, nets: Sequence[Network], shape: tuple[int, ...]) -> Networks:
        stack = cls.__new__(cls)
        stack.w1, stack.w2 = (
            np.stack(each).reshape(*shape, *each[0].shape)
            for each in ([net.w1 for net in nets], [net.w2 for net in nets])
        )
        stack._set_dimensions(shape, None, None, "network")
        lam, kappa = (np.array([getattr(net, name) for net in nets]) for name in ("lam", "kappa"))
        stack._set_balance(Balances(lam, kappa, np.array([net.balance for net in nets])))
        return stack

    def _part(
        self, places: Any, dims: tuple[str, ...], coords: dict[str, NDArray[Any]]
    ) -> Networks | Network:
        w1, w2 = self._flat
        lam, kappa, kind = (part.ravel()[places] for part in (self.lam, self.kappa, self.balance))
        if np.ndim(places) == 0:
            return Network.known(w1[places], w2[places], float(lam), float(kappa), str(kind))
        part = Networks.__new__(Networks)
        part.w1, part.w2, part.lam, part.kappa, part.balance = w1[places], w2[places], lam, kappa, kind
        part._set_dimensions(np.shape(places), dims, coords, "network")
        return part

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {size}" for name, size in self.sizes.items())
        return f"<Networks {self.architecture} ({sizes})>"


class Tasks(Stacked):
    """A stack of tasks of equal numbers of inputs and outputs, with named leading dimensions.

    `random_regression` returns one where an argument is a list. Indexing gives a stack, or a `Task`.

    Parameters
    ----------
    tasks : sequence of Task, or ndarray of Task
        The tasks.
    dims : str or sequence of str, optional
        Names of the leading dimensions. That of a list is "task" by default.
    coords : mapping of str to array_like, optional
        Coordinates of dimensions.

    Attributes
    ----------
    values : ndarray of Task, (...)
        The tasks.
    dims, shape, coords
        Names, sizes and coordinates of the leading dimensions.

    Raises
    ------
    InputError
        If an element is no task, or their sizes differ.

    Examples
    --------
    >>> a, b = fl.Task.from_sigma(np.eye(2)), fl.Task.from_sigma(np.diag([3.0, 1.0]))
    >>> tasks = fl.Tasks([a, b], coords={"task": ["equal", "unequal"]})
    >>> net = fl.balanced_init(fl.Architecture(2, 2, 2), lam=[0.0, 1.0])
    >>> fl.exact(tasks, net, [0.0, 1.0], ["loss"]).loss.dims
    ('task', 'lam', 'time')
    """

    def __init__(
        self,
        tasks: Sequence[Task] | NDArray[Any],
        *,
        dims: str | Sequence[str] | None = None,
        coords: Mapping[str, Any] | None = None,
    ) -> None:
        _check_sequence("tasks", tasks)
        shape = tasks.shape if isinstance(tasks, np.ndarray) else (len(tasks),)
        flat = list(tasks.ravel() if isinstance(tasks, np.ndarray) else tasks)
        values = np.empty(len(flat), dtype=object)
        for index, task in enumerate(flat):
            check_instance(f"tasks[{index}]", task, Task, "random_regression or Task(x, y)")
            if (task.n_i, task.n_o) != (flat[0].n_i, flat[0].n_o):
                raise InputError(
                    f"tasks[{index}] maps {task.n_i} inputs to {task.n_o} outputs, and tasks[0] maps "
                    f"{flat[0].n_i} to {flat[0].n_o}; needed are tasks of equal sizes"
                )
            values[index] = task
        self.values: NDArray[Any] = values.reshape(shape)
        self._set_dimensions(shape, dims, coords, "task")

    @property
    def n_i(self) -> int:
        """Number of inputs."""
        return int(self.values.flat[0].n_i)

    @property
    def n_o(self) -> int:
        """Number of outputs."""
        return int(self.values.flat[0].n_o)

    def _part(self, places: Any, dims: tuple[str, ...], coords: dict[str, NDArray[Any]]) -> Tasks | Task:
        values = self.values.ravel()[places]
        return values if np.ndim(places) == 0 else Tasks(values, dims=dims, coords=coords)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {size}" for name, size in self.sizes.items())
        return f"<Tasks of {self.n_i} inputs, {self.n_o} outputs ({sizes})>"


class located:
    """Name the element of a stack in errors of a `with` block."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, InputError):
            raise InputError(f"at {self._where}: {error}") from None


@dataclass(frozen=True)
class Pairs:
    """Tasks and networks, broadcast against each other: P pairs in the order of the leading dimensions.

    Attributes
    ----------
    dims, shape, coords
        The leading dimensions.
    tasks : list of Task
        The different tasks.
    w1, w2, lam, kappa, balance : ndarray, (K, ...)
        The different networks.
    task_of, net_of : ndarray of int, (P,)
        The task and the network of each pair.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    coords: dict[str, NDArray[Any]]
    tasks: list[Task]
    w1: Array
    w2: Array
    lam: Array
    kappa: Array
    balance: NDArray[Any]
    task_of: Integers
    net_of: Integers

    @property
    def size(self) -> int:
        """Number of pairs."""
        return self.net_of.size

    @property
    def arrays(self) -> TaskArrays:
        """The tasks of all pairs, with one leading dimension."""
        return TaskArrays(self.tasks, self.task_of)

    def pair(self, pair: int) -> tuple[Task, Network]:
        """Return the task and the network of a pair."""
        number = self.net_of[pair]
        balance = float(self.lam[number]), float(self.kappa[number]), str(self.balance[number])
        return self.tasks[self.task_of[pair]], Network.known(self.w1[number], self.w2[number], *balance)

    def at(self, pair: int) -> str:
        """Return where a pair is."""
        return place_of(self.dims, self.shape, self.coords, pair)


def is_stack(task: Any, net: Any) -> bool:
    """Tell whether one of both is a stack or a list."""
    return isinstance(task, Tasks | list | tuple) or isinstance(net, Networks | list | tuple)


def pairs(task: Any, net: Any) -> Pairs:
    """Return tasks and networks, broadcast by the names of their dimensions.

    Dimensions of the tasks that networks do not have come first.

    Raises
    ------
    InputError
        If an argument is of another class, or sizes or coordinates do not fit.
    """
    tasks, nets = _tasks(task), _networks(net)
    shape = nets.architecture
    if (tasks.n_i, tasks.n_o) != (shape.n_i, shape.n_o):
        raise InputError(
            f"the tasks map {tasks.n_i} inputs to {tasks.n_o} outputs, the networks {shape} (N_i-N_h-N_o) do "
            "not"
        )
    dims = (*(name for name in tasks.dims if name not in nets.dims), *nets.dims)
    sizes = _common_sizes(tasks, nets)
    leading = tuple(sizes[name] for name in dims)
    if 0 in leading:
        raise InputError(f"the stack is empty, with sizes {sizes}; needed is one network or more")
    coords = {name: (nets.coords | tasks.coords)[name] for name in dims if name in nets.coords | tasks.coords}
    different = list({id(each): each for each in tasks.values.flat}.values())
    numbers = {id(each): number for number, each in enumerate(different)}
    number_of = np.array([numbers[id(each)] for each in tasks.values.flat])
    w1, w2 = nets._flat
    return Pairs(
        dims,
        leading,
        coords,
        different,
        w1,
        w2,
        nets.lam.ravel(),
        nets.kappa.ravel(),
        nets.balance.ravel(),
        number_of[_places(tasks, dims, leading)],
        _places(nets, dims, leading),
    )


def _tasks(task: Any) -> Tasks:
    if isinstance(task, Tasks):
        return task
    if isinstance(task, list | tuple):
        return Tasks(task)
    check_instance("task", task, Task, "random_regression or Task(x, y)")
    alone = np.empty((), dtype=object)
    alone[()] = task
    return Tasks(alone)


def _networks(net: Any) -> Networks:
    if isinstance(net, Networks):
        return net
    if isinstance(net, list | tuple):
        if not net:
            raise InputError("networks are empty; needed is one or more")
        return Networks.of(net)
    check_instance("net", net, Network, "balanced_init or Network(w1, w2)")
    return Networks._of([net], ())


def _common_sizes(tasks: Tasks, nets: Networks) -> dict[str, int]:
    """Return the sizes of all dimensions. Both have to agree on those that they share."""
    for name in tasks.dims:
        if name not in nets.dims:
            continue
        first, second = tasks.sizes[name], nets.sizes[name]
        if first != second:
            raise InputError(
                f"dimension {name!r} has {first} tasks and {second} networks; needed is one size"
            )
        labels = [stack.coords[name] for stack in (tasks, nets) if name in stack.coords]
        if len(labels) == 2 and not np.array_equal(labels[0], labels[1]):
            raise InputError(f"tasks and networks have other coordinates of {name!r}; needed are the same")
    return tasks.sizes | nets.sizes


def _places(stack: Stacked, dims: tuple[str, ...], shape: tuple[int, ...]) -> Integers:
    """Return the flat place in a stack of every element of its broadcast (P,)."""
    places = np.arange(stack.size).reshape(stack.shape)
    order = [stack.dims.index(name) for name in dims if name in stack.dims]
    places = places.transpose(order).reshape([stack.sizes.get(name, 1) for name in dims])
    return np.asarray(np.broadcast_to(places, shape).reshape(-1))


def _check_sequence(name: str, value: Any) -> None:
    """Raise unless a value is a list, a tuple or an array of one element or more."""
    is_array = isinstance(value, np.ndarray)
    if not is_array and (not isinstance(value, Sequence) or isinstance(value, str)):
        raise InputError(f"{name} is {shown(value)}; needed is a list of them")
    if (value.size if is_array else len(value)) == 0:
        raise InputError(f"{name} are empty; needed is one or more")
