"""What whoever can write to the storage root, or gives a checkpoint or a YAML, cannot have done here."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from transformers import BertConfig, BertModel

from orchestrator.launch.job_note import JobNote, progress
from orchestrator.launch.losses import loss_of
from orchestrator.launch.reporters import Checkpoints
from orchestrator.yaml_text import DEEPEST, MOST_VALUES, parse
from trainables.artifacts import RECORD, Record, fetch, publish
from trainables.errors import ArtifactError, CheckpointError, MachineError
from trainables.spec.teachers import Pretrained
from trainables.storage import Storage, StorageError
from trainables.teachers.encoders import make_encoder
from trainables.transfer_set import TransferSet

OUTSIDE = (
    "../escaped",
    "a/../../escaped",
    "/tmp/escaped",
    "",
    ".",
    "a//b",
    "..\\escaped",
    "C:\\escaped",
    "C:/x",
    "a\0",
)


def stored(storage: Storage, **change: Any) -> None:
    """An artifact whose record is then written by somebody else, with no checksum of its own."""
    record = Record(kind="teacher", fingerprint="abc", spec={}, created=datetime.now(UTC))
    storage.write_bytes("teachers/abc/escaped", b"planted")
    made = publish(storage, "teachers/abc", None, record, stored=["escaped"])
    facts = {**json.loads(made.model_dump_json()), "checksum": "", **change}
    storage.write_text(f"teachers/abc/{RECORD}", json.dumps(facts))


@pytest.mark.parametrize("key", OUTSIDE)
def test_no_file_of_a_record_leaves_the_folder_that_it_is_fetched_to(key: str, tmp_path: Path) -> None:
    storage, planted = Storage(str(tmp_path / "store")), b"planted"
    stored(storage)
    assert (fetch(storage, "teachers/abc", tmp_path / "fine") and (tmp_path / "fine" / "escaped").is_file()) is True
    stored(storage, files={key: {"size": len(planted), "sha256": hashlib.sha256(planted).hexdigest()}})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ArtifactError, match=r"not a record of this version \(1 faults\)"):
        fetch(storage, "teachers/abc", tmp_path / "into" / "here")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["..", "../x", "/etc", "a/b", "", ".hidden", "a\n"])
def test_what_a_record_reads_are_names_of_folders(name: str, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    for change in ({"fingerprint": name}, {"reads": {"transfer_set": name}}):
        stored(storage, **change)
        with pytest.raises(ArtifactError, match="not a record of this version"):
            fetch(storage, "teachers/abc", tmp_path / "into")
    with pytest.raises(ArtifactError, match="no fingerprint"):
        TransferSet.fetched(storage, name, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/../x", ".."])
def test_no_key_leaves_its_root(key: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("secret")
    storage = Storage(str(tmp_path / "store"))
    for act in (storage.read_bytes, storage.exists, storage.remove, storage.url, storage.at, storage.list):
        with pytest.raises(StorageError, match="leaves its storage root"):
            act(key)
    with pytest.raises(StorageError, match="leaves its storage root"):
        storage.write_bytes(key, b"")
    assert (tmp_path / "x").read_text() == "secret"


def test_a_jobs_note_leads_nowhere_else(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    storage.write_text("jobs/one.json", JobNote(sweep="../../etc", trials=1).model_dump_json())
    assert "leaves its storage root" in progress(storage.root, "one")


def checkpoint(storage: Storage, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Checkpoints:
    """One as somebody else may write it, with the right checksum."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    content = buffer.getvalue()
    storage.write_bytes("c/state.tar", hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    return Checkpoints(storage, "c")


def linked(name: str, target: str, kind: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


@pytest.mark.parametrize(
    "members",
    [
        [(tarfile.TarInfo("../escaped"), b"planted")],
        [linked("link", "..", tarfile.SYMTYPE), (tarfile.TarInfo("link/escaped"), b"planted")],
        [linked("link", "/etc/passwd", tarfile.SYMTYPE)],
        [linked("link", "../secret", tarfile.LNKTYPE)],
        [linked("device", "", tarfile.CHRTYPE)],
    ],
    ids=["above", "through a link", "link to a file", "hard link", "device"],
)
def test_no_member_of_a_checkpoint_leaves_its_folder(
    members: list[tuple[tarfile.TarInfo, bytes]], tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "folder").mkdir()
    with pytest.raises(tarfile.FilterError):
        checkpoint(Storage(str(tmp_path / "store")), *members).restore(tmp_path / "folder")
    assert not (tmp_path / "escaped").exists()
    assert not [path for path in (tmp_path / "folder").rglob("*") if path.is_file()]


def test_a_compressed_checkpoint_is_not_unpacked(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    member = tarfile.TarInfo("zeros"), bytes(2**20)
    assert checkpoint(storage, member).restore(tmp_path / "plain") is True
    with pytest.raises(tarfile.ReadError):
        checkpoint(storage, member, mode="w:gz").restore(tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


class Planted:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("how", ["everybody's", "another's"])
def test_an_error_that_others_may_have_written_is_not_unpickled(how: str, tmp_path: Path) -> None:
    path, mark = tmp_path / "error.pkl", tmp_path / "ran"
    trial = SimpleNamespace(pickled_error_file=str(path))
    path.write_bytes(pickle.dumps(MachineError("the disk is full")))
    assert loss_of(trial).reason == "the disk is full"
    path.write_bytes(pickle.dumps(Planted(mark)))
    if how == "everybody's":
        path.chmod(0o666)
    elif os.getuid() != 0:
        pytest.skip("only root can give a file away")
    else:
        os.chown(path, 12345, 12345)
    assert loss_of(trial).reason == "its process was lost: no reason given"
    assert not mark.exists()


def test_no_code_of_a_checkpoint_runs_whatever_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked in a terminal, `y` would have it run."""
    folder, mark = tmp_path / "hostile", tmp_path / "ran"
    BertModel(BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)).save_pretrained(
        folder
    )
    config = json.loads((folder / "config.json").read_text())
    own = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": own}))
    (folder / "own.py").write_text(
        f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
        "from transformers import BertConfig as OwnConfig, BertModel as OwnModel\n"
    )
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    with pytest.raises(CheckpointError):
        make_encoder("text", Pretrained(checkpoint=str(folder)), [], 0)
    assert not mark.exists()


def test_an_index_of_weights_names_safetensors_beside_it_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "a.safetensors").touch()
    for name in ("weights.bin", "../weights.safetensors", "/weights.safetensors"):
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
        with pytest.raises(CheckpointError, match="beside it"):
            make_encoder("text", Pretrained(checkpoint=str(tmp_path)), [], 0)


def test_nor_does_the_index_of_a_checkpoint_on_the_hub(tmp_path: Path) -> None:
    """transformers would follow it, and unpickle what it names."""
    commit, source = "a" * 40, "someone/model"
    repository = tmp_path / "models--someone--model"
    snapshot = repository / "snapshots" / commit
    BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)).save_pretrained(
        snapshot, max_shard_size="1KB"
    )
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    code = f"from trainables.pretrained import check_source; check_source({source!r}, 'main')"
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    run = partial(
        subprocess.run, [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert run().returncode == 0
    index = snapshot / "model.safetensors.index.json"
    facts = json.loads(index.read_text())
    facts["weight_map"][next(iter(facts["weight_map"]))] = "pytorch_model.bin"
    index.write_text(json.dumps(facts))
    refused = run()
    assert refused.returncode == 1
    assert "it names 'pytorch_model.bin'; only *.safetensors beside it are loaded" in refused.stderr


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        bomb(9),
        "a: &a [*a]",
        "[" * 100_000,
        "[" * 200 + "]" * 200,
        "!!python/object/apply:os.getcwd []",
        "{a: 1, a: 2}",
    ],
    ids=["bomb", "endless", "deep", "deep and closed", "object", "twice"],
)
def test_yaml_that_is_not_read(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        parse(text)


def test_yaml_that_is_read() -> None:
    assert parse("a: &x {b: 1}\nc: *x\nd: {e: 5e-4}") == {
        "a": {"b": 1},
        "c": {"b": 1},
        "d": {"e": 5e-4},
    }
    assert parse(bomb(3))["a2"][9][9] == ["x"] * 10
    assert len(parse(f"[{'1, ' * (MOST_VALUES - 2)}1]")) == MOST_VALUES - 1
    assert parse("[" * DEEPEST + "]" * DEEPEST)
