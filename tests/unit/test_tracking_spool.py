"""The spool: what is appended is read once, in order, by whoever holds the lock, and nothing torn counts."""

from __future__ import annotations

from pathlib import Path

from orchestrator.tracking.spool import Segment, abandoned, store_key, waiting

STORE = store_key("sqlite:///x.db")


def left(folder: Path, events: int, store: str = STORE) -> Path:
    """A segment whose driver is gone."""
    segment = Segment.create(folder, "cmd-meld-ab12")
    segment.append({"kind": "sweep", "store": store})
    for i in range(events):
        segment.append({"kind": "report", "i": i})
    segment.release()
    return segment.path


def test_events_come_in_order_and_only_after_the_cursor(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path, "s")
    for i in range(25):
        segment.append({"i": i})
    events, end = segment.read(limit=10)
    assert [e["i"] for e in events] == list(range(10))
    segment.applied(end)
    assert [e["i"] for e in segment.read(1000)[0]] == list(range(10, 25))
    assert segment.remaining() == 15 and not segment.drained()
    segment.applied(segment.read(1000)[1])
    assert segment.drained() and segment.read(1000)[0] == []


def test_the_cursor_outlives_the_process(tmp_path: Path) -> None:
    path = left(tmp_path, events=4)
    first = Segment.take(path)
    assert first is not None
    first.applied(first.read(limit=3)[1])
    first.release()
    second = Segment.take(path)
    assert second is not None and [e["i"] for e in second.read(1000)[0]] == [2, 3]


def test_a_torn_last_line_is_not_read(tmp_path: Path) -> None:
    path = left(tmp_path, events=2)
    with path.open("ab") as handle:
        handle.write(b'{"kind": "repo')
    segment = Segment.take(path)
    assert segment is not None and len(segment.read(1000)[0]) == 3


def test_values_that_are_not_finite_survive(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path, "s")
    segment.append({"loss": float("nan"), "score": float("inf")})
    event = segment.read(1000)[0][0]
    assert event["loss"] != event["loss"] and event["score"] == float("inf")


def test_a_live_segment_is_not_taken(tmp_path: Path) -> None:
    live = Segment.create(tmp_path, "s")
    live.append({"kind": "sweep", "store": STORE})
    assert Segment.take(live.path) is None
    assert list(abandoned(tmp_path, STORE)) == [] and not waiting(tmp_path)
    live.release()
    assert waiting(tmp_path)


def test_only_segments_for_the_same_store_are_replayed(tmp_path: Path) -> None:
    mine = left(tmp_path, events=1)
    other = left(tmp_path, events=1, store=store_key("http://other"))
    assert [s.path for s in abandoned(tmp_path, STORE)] == [mine]
    assert other.exists()


def test_abandoned_segments_come_oldest_first_and_empty_ones_go(tmp_path: Path) -> None:
    paths = [left(tmp_path, events=1) for _ in range(3)]
    empty = Segment.create(tmp_path, "a")
    empty.release()
    assert [s.path for s in abandoned(tmp_path, STORE)] == paths
    assert not empty.path.exists()


def test_a_kept_file_outlives_its_source_until_the_segment_goes(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path / "spool", "s")
    source = tmp_path / "trials.parquet"
    source.write_bytes(b"rows")
    key = segment.keep(source)
    source.unlink()
    assert (segment.files / key).read_bytes() == b"rows" and key.endswith("/trials.parquet")
    segment.remove()
    assert list((tmp_path / "spool").iterdir()) == []


def test_the_spool_keeps_no_credentials() -> None:
    assert "secret" not in store_key("postgresql://me:secret@host/db")
