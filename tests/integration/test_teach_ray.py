"""Teachers fine-tuned, harvested and put to use on Ray: each stage once, and nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import StageError
from orchestrator.launch.confirm import Confirmation, ModelJob, RobustnessJob, run_jobs
from orchestrator.launch.harvest import run_harvest, run_shards
from orchestrator.launch.placement import Cluster
from orchestrator.launch.reporters import Checkpoints, StoredReporter, silent
from orchestrator.launch.teach import UNFINISHED, run_teach
from orchestrator.plan import FoldPlan, harvest_plan
from orchestrator.resources import PoolResources, Resources
from tests.helpers.teachers import small_corpus, small_run
from trainables.artifacts import read_record
from trainables.conditions import condition_names, robustness_fingerprint
from trainables.errors import ArtifactError, PreemptedError
from trainables.robustness import read_predictions
from trainables.spec import RunSpec
from trainables.spec.needs import Needs
from trainables.spec.robustness import RobustnessSpec
from trainables.storage import Storage
from trainables.teachers.damaged_plan import DamagedPlan
from trainables.teachers.identity import TeacherReads, prefix, teacher_fingerprints, transfer_fingerprint
from trainables.teachers.plan import HarvestPlan

Steps = list[tuple[int, int, str]]
ONE = PoolResources()


def steps() -> tuple[Steps, Any]:
    found: Steps = []
    return found, lambda done, total, note="": found.append((done, total, note))


def text_teacher_after_one_epoch(
    run: RunSpec, storage: Storage, corpus: str, fingerprint: str, folder: Path
) -> None:
    """The checkpoint that a worker leaves which has notice in the text teacher's first epoch."""
    from trainables.teachers.tuning import fine_tune

    checkpoints = Checkpoints(storage, f"{UNFINISHED}/{fingerprint}")
    with pytest.raises(PreemptedError):
        reporter = StoredReporter(silent, checkpoints, lambda: True)
        fine_tune("text", run, storage, TeacherReads(corpus), folder, reporter)
    assert not folder.exists(), "half a teacher is none"


def test_teach_harvest_and_confirm(cluster: Cluster, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    corpus, run = small_corpus(storage), small_run()
    teachers = teacher_fingerprints(run, corpus)
    text_teacher_after_one_epoch(run, storage, corpus, teachers["text"], tmp_path / "text")
    _teach(storage, corpus, run, teachers)
    fingerprint = _harvest(storage, corpus, run, teachers)
    _confirm(storage, run, fingerprint, tmp_path)
    fold = FoldPlan(fold=None, run=run, teachers=teachers, transfer_set=fingerprint)
    _try(storage, harvest_plan(storage, fold, corpus, Needs(logits=True, pooled=True)), tmp_path)


def _teach(storage: Storage, corpus: str, run: RunSpec, teachers: dict[Any, str]) -> None:
    told, on_progress = steps()
    folds = [FoldPlan(fold=None, run=run, teachers=teachers, transfer_set="")]
    given: dict[str, Any] = {"corpus": corpus, "resources": Resources()}
    run_teach(folds, storage=storage.root, on_progress=on_progress, **given)
    records = {name: read_record(storage, prefix(value)) for name, value in teachers.items()}
    assert all(record is not None and record.info["epochs"] == 2 for record in records.values())
    assert [(done, total) for done, total, _ in told] == [(0, 6), (1, 6), (2, 6), (4, 6), (5, 6), (6, 6)]
    assert told[3][2].startswith("text teacher, epoch 2")
    assert storage.list(UNFINISHED) == []
    again, on_progress = steps()
    run_teach(folds, storage=storage.root, on_progress=on_progress, **given)
    assert again == []


def _harvest(storage: Storage, corpus: str, run: RunSpec, teachers: dict[Any, str]) -> str:
    needs = Needs(logits=True, pooled=True)
    fingerprint = transfer_fingerprint(run, {str(name): value for name, value in teachers.items()}, needs, corpus)
    fold = FoldPlan(fold=None, run=run, teachers=teachers, transfer_set=fingerprint)
    given: dict[str, Any] = {"corpus": corpus, "needs": needs, "resources": Resources()}
    told, on_progress = steps()
    run_harvest([fold], storage=storage.root, on_progress=on_progress, **given)
    record = read_record(storage, f"transfer_sets/{fingerprint}")
    assert record is not None and sum(record.rows.values()) == 60
    assert [(done, total) for done, total, _ in told] == [(0, 2), (1, 2), (2, 2)]
    run_harvest([fold], storage=storage.root, on_progress=on_progress, **given)
    assert len(told) == 3
    storage.remove(f"transfer_sets/{fingerprint}/record.json")
    storage.remove(f"transfer_sets/{fingerprint}/shard-00001.parquet")
    run_harvest([fold], storage=storage.root, on_progress=on_progress, **given)
    assert [(done, total) for done, total, _ in told[3:]] == [(1, 2), (2, 2)]
    with pytest.raises(StageError, match="would make transfer set"):
        other = fold.model_copy(update={"transfer_set": "0" * 16})
        run_harvest([other], storage=storage.root, on_progress=on_progress, **given)
    return fingerprint


def _confirm(storage: Storage, run: RunSpec, transfer_set: str, folder: Path) -> None:
    small = {"width": 8, "heads": 2, "cross_layers": 1, "self_layers": 1, "token_width": 4}
    training = {"epochs": 2, "batch_size": 8}
    data = run.model_dump(mode="json")
    data["student"], data["training"] = data["student"] | small, data["training"] | training
    runs = [RunSpec.model_validate({**data, "seed": seed}) for seed in (1000, 1001)]
    jobs = [
        ModelJob(fingerprint=f"{run.seed:016d}", run=run, transfer_set=transfer_set, mc_passes=2) for run in runs
    ]
    done: list[ModelJob] = []
    given: dict[str, Any] = {
        "storage": storage.root, "cache": str(folder / "cache"), "resources": ONE, "concurrency": 2,
    }  # fmt: skip
    run_jobs(jobs, on_done=done.append, **given)
    assert sorted(job.fingerprint for job in done) == [job.fingerprint for job in jobs]
    created = [read_record(storage, f"models/{job.fingerprint}") for job in jobs]
    run_jobs(jobs, on_done=done.append, **given)
    assert created == [read_record(storage, f"models/{job.fingerprint}") for job in jobs]


def _try(storage: Storage, clean: HarvestPlan, folder: Path) -> None:
    """The damaged splits by the harvest's pool, then a model's evaluation on them."""
    spec = RobustnessSpec(noises=("white",), snr=(0.0,), words_substituted=())
    plan, (told, on_progress) = DamagedPlan.of(clean, spec), steps()
    assert plan is not None
    run_shards([plan], ONE, on_progress)
    record = read_record(storage, plan.prefix)
    assert record is not None and list(record.rows) == ["white-0dB", "words-dropped-10%", "words-dropped-30%"]
    assert [(done, total) for done, total, _ in told] == [(0, 2), (1, 2), (2, 2)]
    run_shards([plan], ONE, on_progress)
    assert len(told) == 3
    model = f"{1000:016d}"
    names = condition_names(("audio", "text"), plan.conditions)
    identity = robustness_fingerprint(model, plan.fingerprint, names)
    job = RobustnessJob(
        fingerprint=identity, model=model, transfer_set=clean.fingerprint, damaged=plan.fingerprint,
        conditions=plan.conditions,
    )  # fmt: skip
    done: list[RobustnessJob] = []
    given: dict[str, Any] = {"storage": storage.root, "cache": str(folder / "cache"), "resources": ONE}
    run_jobs([job], concurrency=1, on_done=done.append, **given)
    assert done == [job] and tuple(read_predictions(storage, identity)) == names
    gone = job.model_copy(update={"fingerprint": "0" * 16, "model": "gone"})
    with pytest.raises(StageError, match=r"1 of 1 evaluations of robustness failed; .* no such artifact"):
        run_jobs([gone], concurrency=1, on_done=done.append, **given)


class RefusesOddSeeds(ModelJob):
    def make(self, shared: Confirmation) -> None:
        if self.run.seed % 2:
            raise ArtifactError(f"seed {self.run.seed} is odd")


def test_a_model_that_fails_is_told_after_the_others_are_made(cluster: Cluster, tmp_path: Path) -> None:
    jobs = [
        RefusesOddSeeds(fingerprint=f"{seed:016d}", run=RunSpec(seed=seed), transfer_set="", mc_passes=2)
        for seed in range(4)
    ]
    done: list[ModelJob] = []
    with pytest.raises(StageError, match=r"2 of 4 models failed; the first: models/.*: seed . is odd"):
        run_jobs(jobs, storage=str(tmp_path), cache="", resources=ONE, concurrency=1, on_done=done.append)
    assert [job.run.seed for job in done] == [0, 2]
