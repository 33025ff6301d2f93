"""Every kind of stored file that is truncated, altered or gone: named with the way out, and never read.

On this machine's file system, where files are read in place, and on S3, where they are copied first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.runs import small_run as student_run
from tests.helpers.services.proxy import FaultProxy
from tests.helpers.teachers import CORPUS, LABELS, small_corpus, small_run
from tests.helpers.transfer_sets import synthetic
from trainables import confirm, corpus, robustness
from trainables.artifacts import RECORD, Record, publish, read_record
from trainables.corruption.pool import BabblePool
from trainables.errors import ArtifactError
from trainables.evaluation import export
from trainables.reporter import ListReporter
from trainables.spec import RunSpec
from trainables.spec.needs import Needs
from trainables.spec.robustness import RobustnessSpec
from trainables.storage import Storage
from trainables.students import build_student
from trainables.teachers.damaged import Damager
from trainables.teachers.damaged_plan import DamagedPlan
from trainables.teachers.finish import finish
from trainables.teachers.harvest import Harvester
from trainables.teachers.identity import TeacherReads, publish_teacher, teacher_fingerprints
from trainables.teachers.plan import HarvestPlan
from trainables.teachers.store import fetch_teacher
from trainables.teachers.tuning import fine_tune
from trainables.teachers.utterances import read_utterances
from trainables.transfer_set import TOKEN_TABLE, TransferSet, materialise, shard_name

MODEL = "aaaaaaaaaaaaaaaa"
TRIED = "bbbbbbbbbbbbbbbb"


@dataclass(frozen=True)
class World:
    """A corpus of two shards, its text teacher, their transfer set, and a model of another set that was tried."""

    storage: Storage
    plan: HarvestPlan
    data: TransferSet
    """What the model was trained on."""

    @property
    def teacher(self) -> str:
        return self.plan.teachers["text"]


def text_run() -> RunSpec:
    run = small_run(epochs=1).model_dump(mode="json")
    run["corpus"] |= {"modalities": ["text"]}
    run["teachers"] |= {"audio": None, "fusion": None}
    run["student"] = {"type": "audio_text_transformer", "modalities": ["text"]}
    return RunSpec.model_validate(run)


def confirmed(storage: Storage, data: TransferSet, folder: Path) -> None:
    """A model as `confirm` leaves it, not trained, and what it foretold under one condition."""
    run = student_run()
    export(build_student(run.student, data, seed=0), run, data, folder / "model")
    uids = data.uid[data.split == "test"].tolist()
    rows: dict[str, Any] = {"uid": uids, "probabilities": [[1.0] + [0.0] * 6] * len(uids)}
    said = pa.table({**rows, "split": ["test"] * len(uids), "label": [0] * len(uids)})
    pq.write_table(said, folder / "model" / confirm.PREDICTIONS)
    record = Record(kind="model", fingerprint=MODEL, spec={}, info={"thresholds": None}, created=datetime.now(UTC))
    publish(storage, f"models/{MODEL}", folder / "model", record)
    (folder / "tried").mkdir()
    pq.write_table(
        pa.table({**rows, "condition": ["only-text"] * len(uids)}), folder / "tried" / robustness.PREDICTIONS
    )
    publish(storage, f"robustness/{TRIED}", folder / "tried", record.model_copy(update={"kind": "robustness"}))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    data = synthetic(folder, n=30)
    storage, run = Storage(str(folder / "store")), text_run()
    small_corpus(storage)
    teachers = {str(k): v for k, v in teacher_fingerprints(run, CORPUS).items()}
    reads = TeacherReads(CORPUS, teachers)
    metrics = fine_tune("text", run, storage, reads, folder / "text", ListReporter())
    publish_teacher(storage, "text", run, reads, folder / "text", metrics=metrics)
    plan = HarvestPlan(storage, run, CORPUS, teachers, Needs(logits=True, pooled=True))
    for index in plan.pending():
        Harvester(plan).shard(index)
    finish(plan)
    (folder / "model").mkdir()
    confirmed(storage, data, folder)
    return World(storage, plan, data)


@pytest.fixture(scope="module")
def remote(local: World, proxy: FaultProxy) -> World:
    """The same on S3."""
    storage, folder = Storage("s3://bucket/root"), local.storage.local
    assert folder is not None
    for info in local.storage.list():
        storage.upload(folder / info.key, info.key)
    return World(storage, replace(local.plan, storage=storage), local.data)


@pytest.fixture(params=["local", "remote"])
def world(request: pytest.FixtureRequest) -> World:
    found: World = request.getfixturevalue(request.param)
    return found


def harms(world: World) -> DamagedPlan:
    spec = RobustnessSpec(words_dropped=(0.5,), words_substituted=())
    plan = DamagedPlan.of(world.plan, spec)
    assert plan is not None
    return plan


Read = Callable[[World, Path], object]
KINDS: dict[str, tuple[Callable[[World], str], Read]] = {
    "corpus, all of it": (
        lambda w: w.plan.shard_keys()[1],
        lambda w, _: corpus.read_table(w.storage, CORPUS, ["uid"]),
    ),
    "corpus, to teach": (
        lambda w: w.plan.shard_keys()[1],
        lambda w, _: read_utterances(w.storage, CORPUS, LABELS, ["audio"]),
    ),
    "corpus, to harvest": (lambda w: w.plan.shard_keys()[1], lambda w, _: Harvester(w.plan).shard(1)),
    "corpus, for its voices": (lambda w: w.plan.shard_keys()[0], lambda w, _: BabblePool.read(w.storage, CORPUS)),
    "teacher's head": (
        lambda w: f"teachers/{w.teacher}/head.safetensors",
        lambda w, folder: fetch_teacher(w.storage, w.teacher, folder),
    ),
    "teacher's encoder": (
        lambda w: f"teachers/{w.teacher}/model.safetensors",
        lambda w, folder: fetch_teacher(w.storage, w.teacher, folder),
    ),
    "transfer set's shard": (
        lambda w: w.plan.key(1),
        lambda w, folder: materialise(w.storage, w.plan.fingerprint, folder / "cache"),
    ),
    "token table": (
        lambda w: f"{w.plan.prefix}/{TOKEN_TABLE}",
        lambda w, folder: materialise(w.storage, w.plan.fingerprint, folder / "cache"),
    ),
    "transfer set's record": (
        lambda w: f"{w.plan.prefix}/{RECORD}",
        lambda w, folder: materialise(w.storage, w.plan.fingerprint, folder / "cache"),
    ),
    "clean shard, to be damaged": (lambda w: w.plan.key(1), lambda w, _: Damager(harms(w)).shard(1)),
    "model's weights": (
        lambda w: f"models/{MODEL}/student.safetensors",
        lambda w, _: robustness.evaluate_model(w.storage, MODEL, w.data, None, (), threads=1),
    ),
    "model's predictions": (
        lambda w: f"models/{MODEL}/{confirm.PREDICTIONS}",
        lambda w, _: confirm.read_predictions(w.storage, MODEL, "test"),
    ),
    "predictions of a condition": (
        lambda w: f"robustness/{TRIED}/{robustness.PREDICTIONS}",
        lambda w, _: robustness.read_predictions(w.storage, TRIED),
    ),
}


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


HARMS: dict[str, Callable[[bytes], bytes] | None] = {
    "truncated": lambda data: data[: len(data) // 2],
    "flipped": flipped,
    "removed": None,
}


@contextmanager
def harmed(storage: Storage, key: str, harm: str) -> Iterator[None]:
    data, change = storage.read_bytes(key), HARMS[harm]
    if change is None:
        storage.remove(key)
    else:
        storage.write_bytes(key, change(data))
    try:
        yield
    finally:
        storage.write_bytes(key, data)


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_harmed_is_named_and_never_read(world: World, kind: str, harm: str, tmp_path: Path) -> None:
    key, read = KINDS[kind][0](world), KINDS[kind][1]
    with harmed(world.storage, key, harm), pytest.raises(ArtifactError) as caught:
        read(world, tmp_path / "harmed")
    told = str(caught.value)
    if key.endswith(RECORD) and harm == "removed":
        assert world.storage.url(key.removesuffix(f"/{RECORD}")) in told and "no record" in told
        return
    fault = {"removed": "there is no such object", "truncated": "bytes", "flipped": "checksum differs"}[harm]
    if key.endswith(RECORD):
        fault = r"not a record of this version|checksum differs from its content"
    assert told.startswith(f"{world.storage.url(key)}: ") and re.search(fault, told)
    assert "run the same command again, which makes it anew" in told
    assert [path for path in (tmp_path / "harmed").rglob("*.safetensors") if path.name == Path(key).name] == []
    assert [path for path in (tmp_path / "harmed" / "cache").glob("*") if path.is_dir()] == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_whole_is_read(world: World, kind: str, tmp_path: Path) -> None:
    assert KINDS[kind][1](world, tmp_path) is not None


def test_the_way_out_of_a_harmed_shard_makes_that_shard_alone_again(local: World, tmp_path: Path) -> None:
    """As the message says: the shard and the record are removed, and the same command is run again."""
    storage, plan = local.storage, local.plan
    before = read_record(storage, plan.prefix)
    assert before is not None
    storage.remove(plan.key(1))
    storage.remove(f"{plan.prefix}/{RECORD}")
    assert plan.pending() == [1]
    Harvester(plan).shard(1)
    after = finish(plan)
    assert after.files == before.files
    materialise(storage, plan.fingerprint, tmp_path / "cache")


@pytest.mark.parametrize(
    ("where", "what", "harm"),
    [
        ("local", "shard", "truncated"),
        ("remote", "shard", "flipped"),
        ("local", "receipt", "truncated"),
        ("local", "receipt", "flipped"),
    ],
)
def test_a_shard_harmed_before_its_set_is_finished_is_named_and_made_again(
    where: str, what: str, harm: str, request: pytest.FixtureRequest
) -> None:
    world: World = request.getfixturevalue(where)
    storage, plan = world.storage, world.plan
    before = read_record(storage, plan.prefix)
    storage.remove(f"{plan.prefix}/{RECORD}")
    key = plan.key(1) if what == "shard" else plan.receipt(1)
    data, change = storage.read_bytes(key), HARMS[harm]
    assert change is not None
    storage.write_bytes(key, change(data))
    with pytest.raises(ArtifactError, match=re.escape(f"{storage.url(plan.key(1))}: damaged since it was stored")):
        finish(plan)
    assert read_record(storage, plan.prefix) is None and plan.pending() == [1]
    Harvester(plan).shard(1)
    after = finish(plan)
    assert before is not None and after.files == before.files


def test_a_shard_without_its_receipt_is_not_made_yet(local: World) -> None:
    """A writer that was killed between the two: whatever lies there is replaced."""
    with harmed(local.storage, local.plan.receipt(0), "removed"):
        assert local.plan.pending() == [0]
    assert local.plan.pending() == []


def test_what_a_network_damaged_is_fetched_a_second_time(remote: World, proxy: FaultProxy, tmp_path: Path) -> None:
    key = remote.plan.key(1)
    wrong = flipped(remote.storage.read_bytes(key))
    proxy.reset()
    proxy.fault("status", code=200, body=wrong, times=1, match=f"GET .*{shard_name(1)}")
    materialise(remote.storage, remote.plan.fingerprint, tmp_path / "cache")
    asked = [request for request in proxy.requests if shard_name(1) in request.path and request.method == "GET"]
    assert len(asked) == 2
