"""What a run needs of the transfer set, so that `orch check` can answer without a GPU, torch or the artifact."""

from __future__ import annotations

from trainables.spec.base import Spec, TeacherName
from trainables.spec.method import CMD
from trainables.spec.run import RunSpec
from trainables.spec.schedule import Schedule


class Needs(Spec):
    """What of its teachers' outputs a run reads; all False: it has no teacher."""

    logits: bool = False
    pooled: bool = False
    attention: bool = False
    frames: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what is needed, in a fixed order."""
        return tuple(name for name in ("logits", "pooled", "attention", "frames") if getattr(self, name))


def is_used(schedule: Schedule) -> bool:
    """Whether a weight is above 0 at any time."""
    return schedule.start > 0 or (schedule.end or 0.0) > 0


def contrasts_across(run: RunSpec) -> bool:
    """Whether the run has two cross-attended streams and a weight on their contrast."""
    return isinstance(run.method, CMD) and is_used(run.method.cross_weight) and len(run.student.modalities) > 1


def needs_of(run: RunSpec) -> Needs:
    """The needs of a run's method at its settings."""
    method = run.method
    if not isinstance(method, CMD):
        return Needs()
    return Needs(
        logits=is_used(method.kd_weight) or method.curriculum.type == "teacher_nll",
        pooled=is_used(method.self_weight) or contrasts_across(run),
        attention=is_used(method.attention_weight),
    )


def teachers_needed(run: RunSpec) -> tuple[TeacherName, ...]:
    """The teachers whose outputs the run reads, in the order audio, text, fusion."""
    needs = needs_of(run)
    own = set(run.student.modalities) if needs.pooled or needs.attention else set()
    best = {run.teachers.best} if needs.logits else set()
    return tuple(name for name in run.teachers.names if name in own | best)
