"""Observables of tasks in a row: those of single stages, and those that compare stages."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fastlin.observables.registry import REGISTRY, Observable


@dataclass(frozen=True)
class StageObservable(Observable):
    """An observable that has one value for each stage, or for each stage and task, without time."""

    @property
    def over_time(self) -> bool:
        """Whether it has a time axis: it has none."""
        return False


OF_SEQUENCE: dict[str, Observable] = {
    entry.name: entry
    for entry in (
        StageObservable(
            "final_loss",
            ("stage", "task"),
            "1",
            r"\mathcal{L}_\mathrm{end}",
            "L of each task at the end of each stage",
            "loss on each task at the end of each stage",
            default=False,
        ),
        StageObservable(
            "forgetting",
            ("stage", "task"),
            "1",
            r"\Delta\mathcal{L}",
            "L_j(end of stage i) - L_j(end of stage j), j < i",
            "loss on an earlier task, less that at the end of its own stage; NaN for other tasks",
            default=False,
        ),
        StageObservable(
            "relearning_time",
            ("stage",),
            "1",
            r"t_f",
            "L(0) - L(t_f) = f (L(0) - L*), 2 L* = sum_{a > N_h} s_a^2 + tr Sigma_yy - |Sigma|^2",
            "time in a stage to a fraction of the achievable loss drop; inf if the stage ends before",
            default=False,
        ),
        StageObservable(
            "reversal_time",
            ("stage",),
            "1",
            r"t_{1/2}",
            "max_a ln(1 + 2 r_a / |lam|) / (2 r_a), r_a = sqrt(s_a^2 + lam^2 / 4)",
            "half time of the slowest mode from the optimum of S to -S; inf at lam = 0, NaN elsewhere",
            default=False,
        ),
    )
}


def of_stages(name: str, stages: int) -> Observable:
    """Return an observable of a sequence of so many stages, by stage and, as the loss, by task."""
    entry = OF_SEQUENCE.get(name) or REGISTRY[name]
    dims = entry.dims
    if entry.over_time:
        dims = ("stage", "task") if name == "loss" else ("stage", *dims)
    numbers = tuple(range(stages))
    labels: dict[str, tuple[str | int, ...]] = {dim: numbers for dim in ("stage", "task") if dim in dims}
    return replace(entry, dims=dims, labels={**labels, **entry.labels})


def entry_of(name: str, stages: int = 0) -> Observable:
    """Return an observable of a sweep: of one task, or of so many stages."""
    return of_stages(name, stages) if stages else OF_SEQUENCE.get(name) or REGISTRY[name]
