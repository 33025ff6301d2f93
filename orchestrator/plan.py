"""What a sweep will read and write, worked out before anything runs: the fingerprint of every stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.experiment import ExperimentSpec, sweep_fingerprint
from orchestrator.space import corners
from trainables.spec import RunSpec, TeacherName
from trainables.spec.demands import needs_of
from trainables.spec.needs import Needs, together
from trainables.storage import Storage


@dataclass(frozen=True)
class Plan:
    """Fingerprints only: where the artifacts lie follows from them, whether they exist the storage tells."""

    spec: ExperimentSpec
    stand_in: bool
    corpus: str
    teachers: dict[TeacherName, str]
    transfer_set: str
    needs: Needs
    sweep: str

    @property
    def run(self) -> RunSpec:
        return self.spec.run


def make_plan(
    spec: ExperimentSpec, *, stand_in: bool, corpus_root: Path | None, alignments: Path | None = None
) -> Plan:
    """The plan of an experiment; reads the corpus's listing and local checkpoints, and nothing else."""
    from trainables.prepare import corpus_fingerprint
    from trainables.teachers.identity import teacher_fingerprints, transfer_fingerprint

    corpus = corpus_fingerprint(spec.run.corpus, corpus_root, alignments)
    teachers = teacher_fingerprints(spec.run, corpus)
    needs = harvest_needs(spec)
    transfer_set = transfer_fingerprint(spec.run, {str(name): fp for name, fp in teachers.items()}, needs)
    return Plan(
        spec=spec,
        stand_in=stand_in,
        corpus=corpus,
        teachers=teachers,
        transfer_set=transfer_set,
        needs=needs,
        sweep=sweep_fingerprint(spec, transfer_set),
    )


def harvest_needs(spec: ExperimentSpec) -> Needs:
    """What any point of the search may read of the teachers; logits and pooled vectors are always kept."""
    runs = [spec.run, *(run for _, _, run in corners(spec.search.space, spec.run))]
    return together(Needs(logits=True, pooled=True), *(needs_of(run) for run in runs))


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
