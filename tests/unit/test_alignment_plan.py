"""A sweep is planned by the TextGrids that its corpus is aligned by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import pipeline
from orchestrator.errors import SettingsError
from orchestrator.events import Observers
from orchestrator.experiment import load
from orchestrator.plan import make_plan
from orchestrator.settings import load as load_settings
from tests.helpers.cli import bare_machine
from tests.helpers.textgrids import write_textgrid

TIERS = {"words": [(0.0, 0.4, "hm")], "phones": [(0.0, 0.4, "M")]}
SPEC = load("cmd-meld", stand_in=True, sets=["run.corpus.alignment.type=textgrid"])


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_machine(tmp_path, monkeypatch)


class Planned(Exception):  # noqa: N818
    """Nothing more is wanted of the sweep."""


def planned(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a sweep's plan is made from."""
    seen: dict[str, Any] = {}

    def stop(spec: object, **given: Any) -> None:
        seen.update(given)
        raise Planned

    monkeypatch.setattr(pipeline, "make_plan", stop)
    with pytest.raises(Planned):
        pipeline.sweep(SPEC, load_settings(), stand_in=True, observer=Observers())
    return seen


def test_a_sweep_reads_the_folder_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="ORCH_ALIGNMENTS__STANDIN"):
        pipeline.sweep(SPEC, load_settings(), stand_in=True, observer=Observers())
    monkeypatch.setenv("ORCH_ALIGNMENTS__STANDIN", str(tmp_path))
    assert planned(monkeypatch)["alignments"] == tmp_path


def test_other_textgrids_are_another_corpus(tmp_path: Path) -> None:
    plans = []
    for name, label in (("one", "hm"), ("two", "ah"), ("three", "hm")):
        tiers = TIERS | {"words": [(0.0, 0.4, label)]}
        write_textgrid(tmp_path / name / "dia0_utt0.TextGrid", tiers)
        plans.append(make_plan(SPEC, stand_in=True, corpus_root=None, alignments=tmp_path / name))
    one, two, three = plans
    assert one.corpus == three.corpus != two.corpus
    assert one.sweep == three.sweep != two.sweep
