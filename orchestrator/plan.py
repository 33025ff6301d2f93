"""What a sweep will read and write, worked out before anything runs: the fingerprint of every stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from orchestrator.errors import ExperimentError
from orchestrator.experiment import ExperimentSpec, sweep_fingerprint
from orchestrator.space import corners, with_values
from trainables.spec import RunSpec, TeacherName
from trainables.spec.demands import needs_of
from trainables.spec.needs import Needs, together
from trainables.storage import Storage

if TYPE_CHECKING:
    from trainables.teachers.plan import HarvestPlan


class FoldPlan(BaseModel):
    """One fold, or the one split that there is: its run, and what is made for it alone."""

    model_config = ConfigDict(frozen=True)

    fold: int | None
    run: RunSpec
    """The experiment's, with the fold."""
    teachers: dict[TeacherName, str]
    transfer_set: str


@dataclass(frozen=True)
class Plan:
    """Fingerprints only: where the artifacts lie follows from them, whether they exist the storage tells."""

    spec: ExperimentSpec
    stand_in: bool
    corpus: str
    folds: tuple[FoldPlan, ...]
    """In the order of `run.folds`; one without a number where the corpus has one official split."""
    needs: Needs
    sweep: str

    @property
    def run(self) -> RunSpec:
        return self.spec.run

    @property
    def reads_segments(self) -> bool:
        """Whether a student or a teacher reads the phones, syllables or words of the corpus's alignment."""
        fusion = self.run.teachers.fusion
        return bool(self.needs.segments) or (fusion is not None and bool(fusion.segments))

    @property
    def transfer_sets(self) -> dict[int | None, str]:
        """By fold."""
        return {one.fold: one.transfer_set for one in self.folds}


def make_plan(
    spec: ExperimentSpec, *, stand_in: bool, corpus_root: Path | None, alignments: Path | None = None
) -> Plan:
    """The plan of an experiment; reads the corpus's listing and local checkpoints, and nothing else."""
    from trainables.prepare import corpus_fingerprint

    corpus = corpus_fingerprint(spec.run.corpus, corpus_root, alignments)
    needs = harvest_needs(spec)
    folds = tuple(plan_fold(spec.run, fold, corpus, needs) for fold in spec.run.folds)
    return Plan(
        spec=spec,
        stand_in=stand_in,
        corpus=corpus,
        folds=folds,
        needs=needs,
        sweep=sweep_fingerprint(spec, *(one.transfer_set for one in folds)),
    )


def plan_fold(run: RunSpec, fold: int | None, corpus: str, needs: Needs) -> FoldPlan:
    from trainables.teachers.identity import teacher_fingerprints, transfer_fingerprint

    run = run.model_copy(update={"fold": fold})
    teachers = teacher_fingerprints(run, corpus)
    transfer_set = transfer_fingerprint(run, {str(name): fp for name, fp in teachers.items()}, needs, corpus)
    return FoldPlan(fold=fold, run=run, teachers=teachers, transfer_set=transfer_set)


def harvest_plan(storage: Storage, fold: FoldPlan, corpus: str, needs: Needs) -> HarvestPlan:
    """What makes the fold's transfer set, shard by shard."""
    from trainables.teachers.plan import HarvestPlan

    return HarvestPlan(storage, fold.run, corpus, {str(name): fp for name, fp in fold.teachers.items()}, needs)


def harvest_needs(spec: ExperimentSpec) -> Needs:
    """What any point of the search and any ablation may read of the teachers; logits and pooled vectors always."""
    return together(Needs(logits=True, pooled=True), *(needs_of(run) for run in possible_runs(spec)))


def possible_runs(spec: ExperimentSpec) -> list[RunSpec]:
    """The experiment's own, every end of every range of its search, and the ablations."""
    runs = [spec.run, *(run for _, _, run in corners(spec.search.space, spec.run))]
    return [*runs, *_ablated(spec, runs)]


def _ablated(spec: ExperimentSpec, runs: list[RunSpec]) -> Iterator[RunSpec]:
    """Each ablation of the first of these runs that has its paths."""
    for change in spec.confirm.ablations.values():
        for run in runs:
            try:
                yield with_values(run, change)
            except ExperimentError:
                continue
            break


def generation(storage: Storage, name: str, fingerprint: str, *, fresh: bool) -> str:
    """The folder of the sweep: the newest generation that there is, or with `fresh` the one after it."""
    stem = f"{name}-{fingerprint}"
    numbers = [_number(folder, stem) for folder in storage.folders("sweeps")]
    newest = max((number for number in numbers if number), default=0)
    wanted = newest + 1 if fresh else max(newest, 1)
    return f"sweeps/{stem}" + (f".r{wanted}" if wanted > 1 else "")


def _number(folder: str, stem: str) -> int:
    if folder == stem:
        return 1
    start, _, digits = folder.rpartition(".r")
    return int(digits) if start == stem and digits.isdigit() else 0
