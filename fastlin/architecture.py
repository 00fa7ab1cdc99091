"""The sizes of a two-layer network."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.kernels.random import MAX_SIZE
from fastlin.kernels.sizes import Sizes
from fastlin.validation import check_int, shown


@dataclass(frozen=True, order=True)
class Architecture:
    """Sizes of a two-layer linear network ``y = W2 W1 x``.

    Parameters
    ----------
    n_i, n_h, n_o : int
        Numbers of input, hidden and output units, at least 1 each. Any relation between them is
        allowed, so that a network may be a bottleneck, square, a funnel or wide.

    Raises
    ------
    InputError
        If a size is not a whole number from 1 to 1 048 575.

    Examples
    --------
    >>> arch = fl.Architecture(4, 2, 4)
    >>> str(arch), arch.family
    ('4-2-4', 'bottleneck')
    >>> fl.Architecture(4, 0, 4)
    Traceback (most recent call last):
    ...
    fastlin.errors.InputError: n_h is 0; allowed is 1 to 1048575
    """

    n_i: int
    n_h: int
    n_o: int

    def __post_init__(self) -> None:
        """Check the sizes."""
        for name in ("n_i", "n_h", "n_o"):
            object.__setattr__(self, name, check_int(name, getattr(self, name), 1, MAX_SIZE))

    @cached_property
    def sizes(self) -> Sizes:
        """The three sizes and the numbers that kernels derive from them, such as the rank of the map."""
        return Sizes(self.n_i, self.n_h, self.n_o)

    @classmethod
    def read(cls, text: str) -> "Architecture":
        """Return the architecture of a text like "4-2-4", as `str` prints it.

        Parameters
        ----------
        text : str
            Three sizes N_i-N_h-N_o.

        Returns
        -------
        Architecture

        Raises
        ------
        InputError
            If the text is not three allowed sizes with "-" between them.

        Examples
        --------
        >>> fl.Architecture.read("4-2-3")
        Architecture(n_i=4, n_h=2, n_o=3)
        """
        parts = text.split("-")
        if len(parts) != 3 or not all(
            part.isascii() and part.isdecimal() and len(part) < 20 for part in parts
        ):
            raise InputError(f"architecture is {shown(text)}; needed are three sizes N_i-N_h-N_o, as 4-2-4")
        return cls(*map(int, parts))

    @property
    def family(self) -> str:
        """Name of the shape as in section 5 of the paper, or "wide" or "between" where it has none."""
        if self.n_h < min(self.n_i, self.n_o):
            return "bottleneck"
        if self.n_i == self.n_h == self.n_o:
            return "square"
        if self.n_i > self.n_h == self.n_o:
            return "funnel"
        if self.n_i == self.n_h < self.n_o:
            return "inverted funnel"
        return "wide" if self.n_h >= max(self.n_i, self.n_o) else "between"

    def __str__(self) -> str:
        """Return the sizes as N_i-N_h-N_o."""
        return f"{self.n_i}-{self.n_h}-{self.n_o}"


def sizes_of(names: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return n_i, n_h, n_o and bottleneck_ratio, N_h / min(N_i, N_o), of architectures by their names.

    Raises
    ------
    InputError
        If a name is not N_i-N_h-N_o.
    """
    try:
        sizes = np.array([name.split("-") for name in names.tolist()], dtype=np.int64).reshape(-1, 3)
    except (AttributeError, ValueError):
        raise InputError(f"architectures are {shown(names.tolist())}; needed are names as 4-2-4") from None
    n_i, n_h, n_o = sizes.T
    return {"n_i": n_i, "n_h": n_h, "n_o": n_o, "bottleneck_ratio": n_h / np.minimum(n_i, n_o)}
