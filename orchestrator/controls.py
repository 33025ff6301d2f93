"""The control of every sweep: the same student with nothing of its teachers."""

from __future__ import annotations

from typing import Any

from trainables.spec import RunSpec


def without_teachers(run: RunSpec) -> dict[str, Any]:
    """What to set, by dotted path, so that the run learns from hard labels alone.

    A word table that a student takes over from its teacher is also of the teacher, and starts at random instead.
    """
    values: dict[str, Any] = {"method": {"type": "supervised"}}
    if getattr(run.student, "token_init", "random") == "teacher":
        values |= {"student.token_training": "trained", "student.token_init": "random"}
    return values
