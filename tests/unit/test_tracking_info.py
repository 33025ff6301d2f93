"""Names, owners, addresses and the description: what needs no MLflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import SettingsError
from orchestrator.events import ConditionScore, Interval, ModelRow, Report, TrialRecord
from orchestrator.owner import Owner
from orchestrator.tracking.client import artifact_location, ping, shown, sqlite_path, ui_address, ui_command
from orchestrator.tracking.info import SweepInfo, flatten
from orchestrator.tracking.metrics import model_metrics, summary_metrics
from orchestrator.tracking.note import sweep_note
from orchestrator.tracking.runs import key

INFO = SweepInfo(sweep="s-ab", claim="Distilling helps.", stand_in=True, objectives=[("weighted_f1", "max")])


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, orchestrator.tracking;"
        "print([m for m in ('mlflow', 'torch', 'ray', 'pandas', 'numpy', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("values", "flat"),
    [
        ({"a": {"b": 1, "c": {"d": 0.5}}}, {"run.a.b": "1", "run.a.c.d": "0.5"}),
        ({"a": None, "b": True, "c": "text"}, {"run.a": "null", "run.b": "true", "run.c": "text"}),
        ({"a": ["audio", "text"], "b": {}}, {"run.a": '["audio", "text"]', "run.b": "{}"}),
    ],
)
def test_parameters_go_by_dotted_path(values: dict[str, object], flat: dict[str, str]) -> None:
    assert flatten(values, "run.") == flat


def test_this_process_is_not_gone_and_an_ended_one_is() -> None:
    me = Owner.me()
    assert not me.gone()
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert me.model_copy(update={"pid": child.pid}).gone()


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({"started": "1"}, True),
        ({"boot": "another"}, True),
        ({"host": "another", "boot": "another"}, False),
        ({"pid": 0, "namespace": "pid:[1]"}, False),
    ],
    ids=["pid reused", "host rebooted", "other host", "other container"],
)
def test_an_owner_is_gone_only_where_that_is_certain(change: dict[str, object], gone: bool) -> None:
    assert Owner.me().model_copy(update=change).gone() is gone


@pytest.mark.parametrize("text", [None, "", "nonsense", '{"pid": 1}'])
def test_an_owner_that_cannot_be_read_is_none(text: str | None) -> None:
    assert Owner.parse(text) is None


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////srv/m.db", "/srv/m.db"),
        ("sqlite:////srv/m.db?timeout=5", "/srv/m.db"),
        ("sqlite:///:memory:", None),
        ("http://host:5000", None),
        ("postgresql://u:p@host/db", None),
    ],
)
def test_sqlite_files_are_recognised(uri: str, path: str | None) -> None:
    found = sqlite_path(uri)
    assert (str(found) if found else None) == path


def test_a_local_store_has_its_artifacts_beside_it_and_a_command_for_its_ui() -> None:
    assert artifact_location("sqlite:////srv/m.db") == "/srv/mlflow-artifacts"
    command = ui_command("sqlite:////srv/m.db", port=5001)
    assert command[1:6] == ["-m", "mlflow", "ui", "--backend-store-uri", "sqlite:////srv/m.db"]
    assert command[-4:] == ["--host", "127.0.0.1", "--port", "5001"]
    assert ui_address("sqlite:////srv/m.db") is None


def test_a_server_has_its_ui_already_and_no_password_is_shown() -> None:
    assert ui_address("https://me:secret@host:5000/x") == "https://host:5000/x"
    with pytest.raises(SettingsError, match="https://host"):
        ui_command("https://me:secret@host")
    assert shown("sqlite:////srv/m@b.db") == "sqlite:////srv/m@b.db"


def test_ping_of_a_store_to_be_made_makes_nothing(tmp_path: Path) -> None:
    assert "will be created" in ping(f"sqlite:///{tmp_path}/new/m.db")
    assert list(tmp_path.iterdir()) == []


def trial(*scores: tuple[float, float], **values: float) -> TrialRecord:
    """A trial with one (dev/weighted_f1, phase) an epoch."""
    reports = [
        Report(epoch=i, metrics={"dev/weighted_f1": score, "phase": phase, "loss": 1.0 / i})
        for i, (score, phase) in enumerate(scores, start=1)
    ]
    return TrialRecord(number=1, role="search", params={}, reports=reports, values=values)


def test_best_is_of_the_epochs_whose_score_counts() -> None:
    values = summary_metrics(trial((0.9, 0), (0.5, 1), (0.7, 1), (0.6, 1), weighted_f1=0.7), INFO)
    assert values["best/epoch"] == 3 and values["best/dev/weighted_f1"] == 0.7
    assert values["final/dev/weighted_f1"] == 0.6 and values["final/loss"] == 0.25
    assert values["objective/weighted_f1"] == 0.7


@pytest.mark.parametrize(
    ("objectives", "best"),
    [([("weighted_f1", "min")], 2), ([("parameters", "min"), ("weighted_f1", "max")], 1)],
)
def test_best_follows_the_first_objective_that_epochs_report(objectives: list[tuple[str, str]], best: int) -> None:
    info = SweepInfo.model_validate({**INFO.model_dump(), "objectives": objectives})
    assert summary_metrics(trial((0.7, 1), (0.5, 1)), info)["best/epoch"] == best


def test_a_trial_whose_every_score_is_nan_has_no_best() -> None:
    assert "best/epoch" not in summary_metrics(trial((float("nan"), 1)), INFO)


def row(name: str, score: float, sd: float | None = 0.01, latency: float | None = 1.5) -> ModelRow:
    return ModelRow(
        name=name,
        role="best",
        score=score,
        sd=sd,
        interval=Interval(low=score - 0.02, high=score + 0.02),
        dev_score=score,
        seeds=[1000, 1001],
        parameters=123456,
        latency_ms=latency,
        metrics={"accuracy": 0.5},
    )


def test_what_was_not_measured_is_absent() -> None:
    values = model_metrics(row("a", 0.6, sd=None, latency=None))
    assert "score_sd" not in values and "latency_ms" not in values
    assert values["test/accuracy"] == 0.5 and values["parameters"] == 123456


def test_the_note_is_loud_on_the_stand_in_and_ranks_the_models() -> None:
    note = sweep_note(INFO, [row("low", 0.4), row("high", 0.6123)])
    assert note.startswith("**STAND-IN CORPUS")
    assert "Distilling helps." in note
    assert note.index("| high | best | 61.2 ± 1.0 | 59.2 – 63.2 |") < note.index("| low |")
    assert "STAND-IN" not in sweep_note(INFO.model_copy(update={"stand_in": False}), [])


def test_a_long_leaderboard_is_cut_to_what_mlflow_takes() -> None:
    note = sweep_note(INFO, [row(f"model-{i}", i / 1000) for i in range(200)])
    assert len(note) <= 5000 and "more rows are in the nested runs" in note


def test_conditions_become_metrics_by_names_that_mlflow_takes() -> None:
    names = ["only-audio+text", "white--5dB", "words-dropped-12.5%"]
    one = Interval(low=0.0, high=1.0)
    scores = [
        ConditionScore(name=name, score=0.4 + i, interval=one, change=-0.1, change_interval=one)
        for i, name in enumerate(names)
    ]
    found = model_metrics(row("best-1", 0.5).model_copy(update={"robustness": scores}))
    told = {name: value for name, value in found.items() if name.startswith("robustness")}
    assert told == {
        "robustness/only-audio-text": 0.4, "robustness_change/only-audio-text": -0.1,
        "robustness/white--5dB": 1.4, "robustness_change/white--5dB": -0.1,
        "robustness/words-dropped-12.5pct": 2.4, "robustness_change/words-dropped-12.5pct": -0.1,
    }  # fmt: skip
    assert all(key(name) == name for name in told)
