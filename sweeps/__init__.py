"""Sweeps over many networks: their specs, stores, runs and results.

The public names are those of `fastlin`. They are loaded on first use, so that modules can be imported alone.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastlin import Spec, borders, merge_sweeps, open_sweep, plan, rebuild, refine, run_sweep

__all__ = ["Spec", "borders", "merge_sweeps", "open_sweep", "plan", "rebuild", "refine", "run_sweep"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import fastlin

        return getattr(fastlin, name)
