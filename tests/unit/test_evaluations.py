"""Which evaluations a confirmation wants, and what they are to read, before anything is evaluated."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.evaluations import Evaluations
from orchestrator.experiment import load
from orchestrator.leaderboard import Candidate
from orchestrator.model_ids import confirmed_models
from orchestrator.plan import Plan, make_plan
from orchestrator.space import with_values
from trainables.artifacts import Record, publish
from trainables.conditions import condition_names, prefix, robustness_fingerprint
from trainables.storage import Storage

FEW = "confirm.robustness={snr: [10], words_dropped: [0.3], words_substituted: []}"


def planned(*sets: str) -> Plan:
    return make_plan(load("cmd-meld", stand_in=True, sets=[FEW, *sets]), stand_in=True, corpus_root=None)


def wanted(folder: Path, plan: Plan, **changes: dict[str, Any]) -> Evaluations:
    """Of the plan's own run, and of it with each of these changes, one seed each."""
    candidates = [Candidate(name, "best", with_values(plan.run, change), {}) for name, change in changes.items()]
    chosen = [Candidate("own", "best", plan.run, {}), *candidates]
    models, _ = confirmed_models(chosen, 1, plan.transfer_sets, 2)
    return Evaluations(Storage(str(folder)), plan, models)


def test_every_model_is_tried_under_the_conditions_of_what_it_reads(tmp_path: Path) -> None:
    found = wanted(tmp_path, planned(), deaf={"student.modalities": ["text"]})
    both, words = found.by_model.values()
    (plan,) = found.damaged()
    assert both.damaged == words.damaged == plan.fingerprint and plan.clean.fingerprint == both.transfer_set
    assert [one.name for one in both.conditions] == ["white-10dB", "babble-10dB", "words-dropped-30%"]
    assert [one.name for one in words.conditions] == ["words-dropped-30%"]
    names = condition_names(("audio", "text"), both.conditions)
    assert names[:2] == ("only-audio", "only-text")
    assert both.fingerprint == robustness_fingerprint(both.model, plan.fingerprint, names)
    assert found.identities == {one.model: one.fingerprint for one in (both, words)}


def test_what_is_there_is_not_wanted_again(tmp_path: Path) -> None:
    plan = planned("run.corpus.folds=2")
    first = wanted(tmp_path, plan)
    assert len(first.missing) == len(first.damaged()) == 2
    record = Record(kind="robustness", fingerprint="r", spec={}, created=datetime.now(UTC))
    publish(first.storage, prefix(first.missing[0].fingerprint), None, record)
    again = wanted(tmp_path, plan)
    assert again.missing == first.missing[1:]
    assert [one.fingerprint for one in again.damaged()] == [first.missing[1].damaged]
    assert again.by_model == first.by_model


def test_nothing_is_wanted_where_it_is_turned_off(tmp_path: Path) -> None:
    found = wanted(tmp_path, planned("confirm.robustness.enabled=false"))
    assert (found.by_model, found.missing, found.damaged()) == ({}, [], [])


def test_only_what_a_student_may_read_is_damaged(tmp_path: Path) -> None:
    words = ("run.student.modalities=[text]", "run.method={type: supervised}", "search.space={}")
    (plan,) = wanted(tmp_path, planned(*words)).damaged()
    assert [one.name for one in plan.conditions] == ["words-dropped-30%"]
    heard = "confirm.ablations={heard: {student.modalities: [audio, text]}}"
    (plan,) = wanted(tmp_path, planned(*words, heard)).damaged()
    assert [one.modality for one in plan.conditions] == ["audio", "audio", "text"]


def test_a_model_that_nothing_can_harm_is_not_tried(tmp_path: Path) -> None:
    none = "confirm.robustness={noises: [], words_dropped: [], words_substituted: []}"
    plan = make_plan(load("cmd-meld", stand_in=True, sets=[none]), stand_in=True, corpus_root=None)
    found = wanted(tmp_path, plan, deaf={"student.modalities": ["text"]})
    (both,) = found.by_model.values()
    assert (both.damaged, both.conditions, found.damaged()) == (None, (), [])
