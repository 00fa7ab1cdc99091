"""The accessor ``ds.fastlin`` of datasets, registered without importing xarray.

xarray has no entry points for accessors. Each is registered by a call, which imports xarray. ``import
fastlin`` must stay fast, so the call is made when xarray is imported, or at once if it is imported already.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

    from xarray import Dataset

    from fastlin.sweeps.read.accessor import SweepAccessor

NAME = "fastlin"


def register() -> None:
    """Register the accessor now if xarray is imported, and otherwise as soon as it is."""
    if "xarray" in sys.modules and hasattr(sys.modules["xarray"], "register_dataset_accessor"):
        _register(sys.modules["xarray"])
    else:
        sys.meta_path.insert(0, _Finder())


def _register(xarray: ModuleType) -> None:
    if not hasattr(xarray.Dataset, NAME):
        xarray.register_dataset_accessor(NAME)(_accessor)


def _accessor(dataset: Dataset) -> SweepAccessor:
    """Return the accessor of a dataset. Its modules are imported at its first use."""
    from fastlin.sweeps.read.accessor import SweepAccessor

    return SweepAccessor(dataset)


# Both classes have no base, because importing `importlib.abc` takes as long as all of `import fastlin`.
class _Finder:
    """Finds xarray as the finders behind it do, with a loader that registers the accessor afterwards."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of xarray, and of nothing else."""
        if fullname != "xarray":
            return None
        finders = sys.meta_path[sys.meta_path.index(self) + 1 :]
        specs = (finder.find_spec(fullname, path, target) for finder in finders)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


class _Loader:
    """Loads a module by another loader, and registers the accessor then."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        """Return other attributes of the original loader, for code that only looks for the module."""
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as the other loader does."""
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module as the other loader does, which is its loader from now on."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _register(module)
