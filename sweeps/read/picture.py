"""The picture of a store in a file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from fastlin.errors import InputError
from fastlin.observables import REGISTRY, sweepable
from fastlin.sweeps.read.open import open_sweep, reading
from fastlin.sweeps.spec.spec import Spec


def check_file(target: Path) -> None:
    """Refuse a picture that could not be written, before any work."""
    check_target(target, (".png", ".svg", ".pdf"), "picture", "picture")


def check_target(target: Path, endings: Sequence[str], kind: str, noun: str) -> None:
    """Refuse a file that could not be written, or that its ending says is of another kind."""
    if target.suffix.lower() not in endings or target.is_dir():
        raise InputError(f"{target} is no {kind}; its ending must be one of {', '.join(endings)}")
    if not target.absolute().parent.is_dir():
        raise InputError(f"there is no folder {target.absolute().parent} for the {noun}")


def beside(store: str, ending: str) -> Path:
    """Return a file named after a store: beside it, or here if that is in a bucket or not ours to write."""
    path = Path(os.path.abspath(os.path.expanduser(store)))
    here = "://" in store or not os.access(path.parent, os.W_OK)
    return (Path.cwd() if here else path.parent) / f"{path.stem}{ending}"


def check_spec(spec: Spec) -> None:
    """Refuse to draw over an axis of one value, before the sweep that would be drawn."""
    if spec.lams.size < 2:
        raise InputError("--plot draws over lam, and the spec has one value of it; use fastlin plot --x AXIS")
    if all(REGISTRY[name].dims for name in spec.observables):
        raise InputError("--plot draws one number per point, and the spec's observables have one per layer")
    if spec.reduce and "mean" not in spec.reduce.statistics:
        raise InputError("--plot draws means over seeds, and output.reduce.statistics of the spec has none")


def draw(path: str, target: Path, observable: str | None, x: str, y: str | None) -> None:
    """Draw the phase diagram of a store; by default of the kernel distance, if it is there.

    Raises
    ------
    InputError
        If the store is none or damaged, or cannot be drawn so.
    """
    from fastlin.plot import sweep

    dataset = open_sweep(path)
    if observable is None:
        stored = [name for name in ("kernel_distance", *sweepable()) if name in dataset]
        observable = next((name for name in stored if "layer" not in dataset[name].dims), stored[0])
    with reading(path):
        figure = sweep(dataset, observable, x, y)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # of a title in letters that no font here has
        figure.savefig(target, dpi=150)
