"""Identity and the record: equal content has equal fingerprints, and nothing is visible before its record."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from trainables.artifacts import Record, canonical_json, fetch, fingerprint, publish, read_record
from trainables.errors import ArtifactError
from trainables.spec import RunSpec, Schedule
from trainables.storage import Storage


def record(**changes: object) -> Record:
    base = {"kind": "corpus", "fingerprint": "f", "spec": {}, "created": datetime.now(UTC)}
    return Record.model_validate({**base, **changes})


def folder_of(tmp_path: Path, **files: str) -> Path:
    folder = tmp_path / "made"
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_canonical_json_has_one_form() -> None:
    assert canonical_json({"b": 1, "a": [1.5, None, "é"]}) == '{"a":[1.5,null,"é"],"b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


def test_fingerprints_know_kind_schema_content_and_what_was_read() -> None:
    base = fingerprint("a", 1, {"x": 1}, {"corpus": "c"})
    assert base == fingerprint("a", 1, {"x": 1}, {"corpus": "c"})
    others = [
        fingerprint("b", 1, {"x": 1}, {"corpus": "c"}),
        fingerprint("a", 2, {"x": 1}, {"corpus": "c"}),
        fingerprint("a", 1, {"x": 2}, {"corpus": "c"}),
        fingerprint("a", 1, {"x": 1}, {"corpus": "d"}),
    ]
    assert len({base, *others}) == 5
    assert len(base) == 16


def test_a_spec_s_fingerprint_is_of_its_values_not_of_how_they_were_given() -> None:
    given = RunSpec.model_validate({"method": {"type": "cmd", "temperature": 2}})
    assert given.method.type == "cmd"
    assert given.method.temperature == Schedule(start=2.0)
    assert fingerprint("run", 1, given) == fingerprint("run", 1, RunSpec())


def test_without_a_record_there_is_nothing(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    storage.write_text("corpora/f/data.parquet", "half")
    assert read_record(storage, "corpora/f") is None
    with pytest.raises(ArtifactError, match="no record"):
        fetch(storage, "corpora/f", tmp_path / "out")


def test_publish_and_fetch(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    storage.write_text("corpora/f/early.txt", "shard")
    written = publish(
        storage, "corpora/f", folder_of(tmp_path, **{"a.txt": "A", "d/b.txt": "B"}), record(), ["early.txt"]
    )
    assert read_record(storage, "corpora/f") == written
    assert set(written.files) == {"a.txt", "d/b.txt", "early.txt"}
    assert "torch" in written.versions
    fetch(storage, "corpora/f", tmp_path / "out")
    assert (tmp_path / "out" / "d" / "b.txt").read_text() == "B"
    fetch(storage, "corpora/f", tmp_path / "some", only=["early.txt"])
    assert [p.name for p in (tmp_path / "some").iterdir()] == ["early.txt"]


def test_a_damaged_file_is_named_and_not_kept(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    publish(storage, "corpora/f", folder_of(tmp_path, **{"a.txt": "A"}), record())
    storage.write_text("corpora/f/a.txt", "B")
    with pytest.raises(ArtifactError, match=r"a\.txt: its checksum differs"):
        fetch(storage, "corpora/f", tmp_path / "out")
    assert not (tmp_path / "out" / "a.txt").exists()


def test_a_record_of_another_form_is_refused(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write_text("corpora/f/record.json", '{"kind": 3}')
    with pytest.raises(ArtifactError, match=r"corpora/f/record.json: not a record .*; remove it and run"):
        read_record(storage, "corpora/f")
