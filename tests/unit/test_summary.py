"""The summary as a document and as a page."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.display.tables import print_summary
from orchestrator.pipeline import stored_summary
from orchestrator.summary import Summary
from tests.helpers.sweeps import row, summary
from trainables.storage import Storage


def page(found: Summary, width: int = 80) -> list[str]:
    stream = io.StringIO()
    print_summary(found, Console(file=stream, width=width, color_system=None, highlight=False))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_document_has_the_promised_keys() -> None:
    found = json.loads(summary().model_dump_json())
    assert list(found) == [
        "experiment",
        "fingerprint",
        "stand_in",
        "metric",
        "stages",
        "trials",
        "leaderboard",
        "gains",
        "ceilings",
        "paths",
        "front",
        "folds",
        "labels",
        "ablations",
    ]
    assert {"skipped", "seconds"} <= set(found["stages"]["prepare"])
    assert found["trials"] == {"total": 12, "completed": 8, "pruned": 3, "failed": 1}
    promised = {"name", "role", "score", "sd", "interval", "seeds", "parameters", "latency_ms"}
    assert all(promised <= set(one) for one in found["leaderboard"])
    assert all({"over", "difference", "interval"} <= set(one) for one in found["gains"])
    assert found["ceilings"] == {"audio": 0.551, "text": 0.552, "both": 0.71}


def test_the_document_is_read_back_as_it_was() -> None:
    assert Summary.model_validate_json(summary().model_dump_json()) == summary()


@pytest.mark.parametrize("width", [80, 120])
def test_the_page_fits_and_holds_everything(width: int) -> None:
    lines = page(summary(), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(" ".join(line.split()) for line in lines)
    for wanted in (
        "STAND-IN CORPUS",
        "trial-0004 best 0.561 0.561 ± 0.010 [0.521, 0.601] 126 k 2.12 ms",
        "teacher-fusion teacher 0.571 0.571 [0.531, 0.611] 94.4 M",
        "over default +0.010 [-0.010, +0.030]\n",
        "over supervised +0.040 [+0.012, +0.068] clear of 0",
        "Bayes ceilings (weighted F1): audio 0.551, text 0.552, both 0.710",
        "12 trials: 8 completed, 3 pruned, 1 failed",
        "sweep /data/orch-store/sweeps/cmd-meld-0123456789abcdef",
        "to look orch ui",
    ):
        assert wanted in text


def test_a_pareto_front_is_named() -> None:
    assert "Pareto front on dev: trials 3, 8" in "\n".join(page(summary(front=[3, 8])))
    assert "Pareto" not in "\n".join(page(summary()))


def test_a_real_corpus_has_neither_warning_nor_ceilings() -> None:
    text = "\n".join(page(summary(stand_in=False, ceilings=None)))
    assert "STAND-IN" not in text
    assert "ceilings" not in text


def test_a_long_name_is_folded_not_cut() -> None:
    name = "a-name-of-more-than-thirty-letters"
    lines = page(summary(leaderboard=[row(name, "best", 0.5)]))
    first = next(number for number, line in enumerate(lines) if line.startswith("a-name"))
    assert lines[first].split()[0] + lines[first + 1] == name
    assert max(map(len, lines)) <= 80


def test_a_stored_summary_that_cannot_be_read_is_as_good_as_none(tmp_path: Path) -> None:
    storage, found = Storage(str(tmp_path)), summary()
    assert stored_summary(storage, "summary.json") is None
    storage.write_text("summary.json", found.model_dump_json())
    assert stored_summary(storage, "summary.json") == found
    storage.write_text("summary.json", found.model_dump_json()[:100])
    assert stored_summary(storage, "summary.json") is None
