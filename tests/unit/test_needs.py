from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.runs import small_run
from trainables.spec.demands import needs_of, teachers_needed
from trainables.spec.needs import Needs

NOTHING = {"self_weight": 0, "cross_weight": 0, "kd_weight": 0}


@pytest.mark.parametrize(
    ("method", "needs"),
    [
        ({"type": "supervised"}, Needs()),
        ({"type": "cmd"}, Needs(logits=True, pooled=True)),
        ({"type": "cmd", **NOTHING}, Needs()),
        ({"type": "cmd", **NOTHING, "kd_weight": 0.5}, Needs(logits=True)),
        ({"type": "cmd", **NOTHING, "curriculum": {"type": "teacher_nll"}}, Needs(logits=True, one_label=True)),
        ({"type": "cmd", **NOTHING, "cross_weight": 1}, Needs(pooled=True)),
        ({"type": "cmd", **NOTHING, "attention_weight": 0.1}, Needs(attention=True)),
        (
            {"type": "cmd", **NOTHING, "self_weight": {"shape": "linear", "start": 0, "end": 1}},
            Needs(pooled=True),
        ),
    ],
)
def test_needs_follow_the_weights(method: dict[str, Any], needs: Needs) -> None:
    assert needs_of(small_run(method=method)) == needs


def test_one_modality_has_nothing_to_contrast_across() -> None:
    run = small_run(method={"type": "cmd", **NOTHING, "cross_weight": 1}, student={"modalities": ["text"]})
    assert needs_of(run) == Needs()
    assert teachers_needed(run) == ()


@pytest.mark.parametrize(
    ("modalities", "method", "teachers"),
    [
        (("audio", "text"), {"type": "cmd"}, ("audio", "text", "fusion")),
        (("text",), {"type": "cmd"}, ("text", "fusion")),
        (("audio",), {"type": "cmd", "kd_weight": 0}, ("audio",)),
        (("audio", "text"), {"type": "supervised"}, ()),
    ],
)
def test_a_student_reads_its_own_teachers_and_the_best_one(
    modalities: tuple[str, ...], method: dict[str, Any], teachers: tuple[str, ...]
) -> None:
    run = small_run(method=method, student={"modalities": modalities})
    assert teachers_needed(run) == teachers


def test_the_names_of_needs() -> None:
    assert Needs(attention=True, logits=True).names == ("logits", "attention")
