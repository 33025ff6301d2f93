"""The journal: records out and in, whole or not at all, and the tables at the end."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import JournalError, LeaseLostError
from orchestrator.events import Report, TrialRecord
from orchestrator.journal import Journal, predictions_key, trial_key
from trainables.storage import Storage


def record(number: int, state: str = "completed", **more: object) -> TrialRecord:
    reports = [Report(epoch=e, metrics={"dev/weighted_f1": e / 10, "loss": 1 / e}) for e in (1, 2)]
    given = {"role": "search", "params": {"a.b": number / 2, "kind": "x"}, "values": {"weighted_f1": 0.2}, **more}
    return TrialRecord.model_validate({"number": number, "state": state, "reports": reports, **given})


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(Storage(str(tmp_path / "sweep")))


def test_what_is_written_is_read_by_number(journal: Journal) -> None:
    records = [record(n) for n in (10, 2, 0)]
    for one in records:
        journal.write(one)
    assert journal.read() == sorted(records, key=lambda r: r.number)


def test_a_later_state_replaces_the_earlier(journal: Journal) -> None:
    journal.write(record(0, "running"))
    journal.write(record(0, "failed", reason="why"))
    assert [(r.state, r.reason) for r in journal.read()] == [("failed", "why")]


def test_an_empty_sweep_has_no_trials(journal: Journal) -> None:
    assert journal.read() == []


def test_a_record_that_cannot_be_read_is_named(journal: Journal) -> None:
    journal.storage.write_text(trial_key(3), json.dumps({"number": 3}))
    with pytest.raises(JournalError, match="00003"):
        journal.read()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_record_that_was_cut_is_named(journal: Journal, share: float) -> None:
    journal.write(record(3))
    whole = journal.storage.read_bytes(trial_key(3))
    journal.storage.write_bytes(trial_key(3), whole[: int(len(whole) * share)])
    with pytest.raises(
        JournalError, match=r"trials/00003\.json: damaged: .*; remove it to have the trial run again"
    ):
        journal.read()


def test_a_record_whose_content_has_changed_is_named(journal: Journal) -> None:
    journal.write(record(3))
    whole = journal.storage.read_text(trial_key(3))
    assert whole.count('"weighted_f1":0.2}') == 1
    journal.storage.write_text(trial_key(3), whole.replace('"weighted_f1":0.2}', '"weighted_f1":0.9}'))
    with pytest.raises(JournalError, match=r"00003\.json: damaged: its content is not what was written"):
        journal.read()


def test_a_record_under_the_number_of_another_is_named(journal: Journal) -> None:
    journal.write(record(3))
    journal.storage.write_bytes(trial_key(4), journal.storage.read_bytes(trial_key(3)))
    with pytest.raises(JournalError, match=r"00004\.json: damaged: it is of trial 3"):
        journal.read()


def test_a_record_of_before_there_were_digests_is_read(journal: Journal) -> None:
    journal.storage.write_text(trial_key(3), record(3).model_dump_json(exclude={"machine"}))
    assert journal.read() == [record(3)]


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damaged_predictions_are_named_and_never_joined(journal: Journal, tmp_path: Path, damage: str) -> None:
    journal.write(record(0))
    _predictions(journal, 0, 300, tmp_path)
    whole = bytearray(journal.storage.read_bytes(predictions_key(0)))
    whole[len(whole) // 4] ^= 1
    journal.storage.write_bytes(predictions_key(0), bytes(whole[:-20] if damage == "cut" else whole))
    with pytest.raises(JournalError, match=r"00000\.parquet: the predictions of trial 0 are damaged .*00000\.json"):
        journal.seal()


def test_seal_keeps_the_checkpoints_of_trials_that_are_tried_again(journal: Journal) -> None:
    journal.write(record(0))
    journal.write(record(1, "failed", machine=True, reason="its process was lost"))
    for number in (0, 1):
        journal.storage.write_bytes(f"checkpoints/{number:05d}/state.tar", b"x")
    journal.seal()
    assert [info.key for info in journal.storage.list("checkpoints")] == ["checkpoints/00001/state.tar"]


def test_seal_leaves_tables_and_no_checkpoints(journal: Journal, tmp_path: Path) -> None:
    journal.write(record(0, role="default", params={"kind": "y", "flag": True}))
    journal.write(record(1, "pruned", reason="stopped by ASHA at epoch 2"))
    journal.write(record(2, "failed", values={}, reports=[]))
    journal.storage.write_bytes("checkpoints/00001/state.tar", b"x")
    _predictions(journal, 0, 3, tmp_path)
    assert journal.seal() == ["trials.parquet", "curves.parquet", "predictions.parquet"]
    folder = tmp_path / "sweep"
    trials = pq.read_table(folder / "trials.parquet").to_pydict()
    assert trials["number"] == [0, 1, 2]
    assert trials["state"] == ["completed", "pruned", "failed"]
    assert trials["value/weighted_f1"] == [0.2, 0.2, None]
    assert trials["param/a.b"] == [None, 0.5, 1.0]
    assert trials["param/kind"] == ["y", "x", "x"]
    assert trials["param/flag"] == ["true", None, None]
    curves = pq.read_table(folder / "curves.parquet").to_pylist()
    assert len(curves) == 2 * 2 * 2
    assert {"number": 1, "epoch": 2, "metric": "loss", "value": 0.5} in curves
    assert pq.read_table(folder / "predictions.parquet").to_pydict()["number"] == [0, 0, 0]
    assert not (folder / "checkpoints").exists()


def test_seal_without_predictions_writes_none(journal: Journal) -> None:
    journal.write(record(0))
    assert journal.seal() == ["trials.parquet", "curves.parquet"]


def _predictions(journal: Journal, number: int, rows: int, folder: Path) -> None:
    table = pa.table({"uid": [f"u{i}" for i in range(rows)], "logits": [[0.0, 1.0]] * rows})
    pq.write_table(table, folder / "one.parquet", write_page_checksum=True)
    journal.storage.upload(folder / "one.parquet", predictions_key(number))


def test_a_driver_that_may_not_write_any_more_writes_nothing(tmp_path: Path) -> None:
    def guard() -> None:
        raise LeaseLostError("another one drives")

    journal = Journal(Storage(str(tmp_path)), guard)
    with pytest.raises(LeaseLostError):
        journal.write(record(0))
    assert journal.read() == []


def test_what_a_followed_driver_stored_late_is_put_right_when_the_tables_are_made(tmp_path: Path) -> None:
    journal = Journal(Storage(str(tmp_path)))
    ended = [record(number) for number in range(3)]
    for late in (ended[0], record(1, "running", values={}), ended[2]):
        journal.write(late)
    journal.seal(ended)
    assert journal.read() == ended
    assert pq.read_table(tmp_path / "trials.parquet").column("state").to_pylist() == ["completed"] * 3
