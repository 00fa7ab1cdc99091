"""The law of several tasks in a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels.draws import Target, TaskLaw
from fastlin.kernels.sizes import Sizes
from fastlin.kinds.task_kinds import TASK_KINDS
from fastlin.tasks.related import reversed, similar
from fastlin.tasks.task import Task

REVERSED: Final = "reversed"
SIMILAR: Final = "similar"

# The stages of a seed draw from this many seeds apart, so that they are different draws of one kind.
SEEDS_OF_STAGE = 2**56
MOST_STAGES = 100


@dataclass(frozen=True)
class StageLaw:
    """One stage: a task that is drawn, or one that is made of an earlier stage, and how long it is learned.

    Attributes
    ----------
    kind : str
        Name of a `TaskKind`, or "reversed" (the stage before) or "similar" (to the first stage).
    law : TaskLaw or None
        None for the last two.
    duration : float
        t / tau > 0, also inf.
    similarity : float
        Cosine of the angle to the target of the first stage.
    """

    kind: str
    law: TaskLaw | None
    duration: float
    similarity: float = 1.0


@dataclass(frozen=True)
class SequenceLaw:
    """Stages in a row. As a law of tasks it is that of the first stage, with which the network starts."""

    stages: tuple[StageLaw, ...]

    @property
    def first(self) -> TaskLaw:
        """The law of the first stage."""
        law = self.stages[0].law
        assert law is not None
        return law

    @property
    def white(self) -> bool:
        """Whether the inputs of all stages are whitened."""
        return all(stage.law is None or stage.law.white for stage in self.stages)

    @property
    def inputs(self) -> str:
        """Form of the inputs: that of the first stage if no other one is "general"."""
        forms = [inputs_of(stage.law) for stage in self.stages if stage.law is not None]
        return "general" if "general" in forms else forms[0]

    @property
    def n_samples(self) -> int | None:
        """Number of samples of the first stage, None where its law has none."""
        return getattr(self.first, "n_samples", None)

    def draw(self, seed: int, sizes: Sizes) -> Target:
        """Return the task of the first stage of a seed."""
        return self.first.draw(seed, sizes)

    def tasks(self, architecture: Architecture, seed: int) -> list[Task]:
        """Return the tasks of a seed, one for each stage."""
        tasks: list[Task] = []
        for k, stage in enumerate(self.stages):
            own = seed + k * SEEDS_OF_STAGE
            if stage.kind == REVERSED:
                tasks.append(reversed(tasks[-1]))
            elif stage.kind == SIMILAR:
                tasks.append(similar(tasks[0], stage.similarity, own))
            else:
                tasks.append(TASK_KINDS[stage.kind].build(stage.law, architecture, own))
        return tasks

    def obstacle(self, architecture: Architecture) -> str | None:
        """Return why no tasks of a size can be drawn, or None."""
        for k, stage in enumerate(self.stages):
            if stage.law is not None:
                found = TASK_KINDS[stage.kind].obstacle(stage.law, architecture)
                if found:
                    return f"stage {k}: {found}"
            elif abs(stage.similarity) < 1.0 and architecture.n_i * architecture.n_o == 1:
                return f"stage {k}: a task of one input and one output has similarity 1 or -1 to others"
        return None


def inputs_of(law: TaskLaw) -> str:
    """Return the form of the inputs of a law, as of `Task`: "general" if it does not tell."""
    return "white" if law.white else getattr(law, "inputs", "general")


def check_stages(stages: tuple[StageLaw, ...]) -> None:
    """Raise unless the first stage is a task of its own."""
    if stages[0].law is None:
        raise InputError(f"task.sequence[0].kind is {stages[0].kind!r}, which refers to a stage before it")
