"""A sweep is planned by the TextGrids that its corpus is aligned by."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator import pipeline
from orchestrator.display.tables import print_summary
from orchestrator.errors import SettingsError
from orchestrator.events import Observers
from orchestrator.experiment import load
from orchestrator.plan import make_plan
from orchestrator.settings import load as load_settings
from tests.helpers.cli import bare_machine
from tests.helpers.sweeps import summary
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


@pytest.mark.parametrize(
    ("name", "sets", "read"),
    [
        ("cmd-meld", [], False),
        ("fusion-iemocap", [], True),
        ("cmd-meld", ["run.teachers.fusion={type: multi_level, width: 64, levels: [frame, word]}"], True),
    ],
)
def test_a_plan_knows_whether_segments_are_read(name: str, sets: list[str], read: bool) -> None:
    plan = make_plan(load(name, stand_in=True, sets=sets), stand_in=True, corpus_root=None)
    assert plan.reads_segments is read


@pytest.mark.parametrize(
    ("source", "comparable", "told", "warned"),
    [
        ({}, True, "", False),
        ({"corpus": 5, "none": 1}, True, "aligned: 5 rows by the corpus itself, 1 without", False),
        ({"proportional": 1}, False, "aligned: 1 row by equal shares of the voiced part", True),
    ],
)
def test_a_summary_says_by_what_its_segments_are_aligned(
    source: dict[str, int], comparable: bool, told: str, warned: bool
) -> None:
    console = Console(file=io.StringIO(), width=140)
    print_summary(summary(alignment=source, comparable=comparable), console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert told in shown and ("aligned:" in shown) is bool(source)
    assert ("compare with no one else's" in shown) is warned
