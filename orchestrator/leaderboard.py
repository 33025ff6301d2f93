"""The confirmed leaderboard and the gains, worked out from stored predictions alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.errors import StageError
from orchestrator.events import Interval, ModelRole, ModelRow
from orchestrator.summary import Gain
from trainables.artifacts import Record, read_record
from trainables.spec import RunSpec
from trainables.storage import Storage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FIRST_SEED = 1000
"""Confirmed models use seeds that no trial used."""


@dataclass(frozen=True)
class Candidate:
    """One configuration to confirm. `run` carries no seed of its own: `runs` gives one per seed."""

    name: str
    role: ModelRole
    run: RunSpec
    params: Mapping[str, Any]
    trial: int | None = None

    def runs(self, seeds: int) -> list[RunSpec]:
        return [self.run.model_copy(update={"seed": FIRST_SEED + number}) for number in range(seeds)]


@dataclass(frozen=True)
class Scored:
    """A row of the leaderboard with the test probabilities [seeds, samples, classes] behind it."""

    row: ModelRow
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def score_students(
    storage: Storage,
    candidates: Sequence[Candidate],
    models: Mapping[str, Sequence[str]],
    metric: str,
    resamples: int,
) -> list[Scored]:
    """One scored row per candidate; `models` gives the fingerprints of its seeds by the candidate's name."""
    return [_student(storage, one, list(models[one.name]), metric, resamples) for one in candidates]


def _student(storage: Storage, one: Candidate, models: list[str], metric: str, resamples: int) -> Scored:
    import numpy as np

    from trainables.confirm import prefix, read_predictions
    from trainables.statistics import bootstrap_interval

    records = [_record(storage, prefix(model)) for model in models]
    loaded = [read_predictions(storage, model, "test") for model in models]
    labels, probabilities = loaded[0][1], np.stack([p for _, _, p in loaded])
    low, high = bootstrap_interval(labels, probabilities, metric, resamples=resamples)
    tests = [record.info["test"] for record in records]
    scores = [test[metric] for test in tests]
    row = ModelRow(
        name=one.name,
        role=one.role,
        score=float(np.mean(scores)),
        sd=float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        interval=Interval(low=low, high=high),
        dev_score=float(np.mean([record.info["dev_score"] for record in records])),
        seeds=[int(record.spec["seed"]) for record in records],
        parameters=int(records[0].info["parameters"]),
        latency_ms=float(np.median([record.info["latency_ms"] for record in records])),
        metrics={key: float(np.mean([test[key] for test in tests])) for key in tests[0]},
        params=dict(one.params),
        models=models,
        trial=one.trial,
    )
    return Scored(row, labels, probabilities)


def score_teachers(  # noqa: PLR0917 - the row is made of all of them
    storage: Storage, transfer: str, cache: Any, teachers: Mapping[str, str], metric: str, resamples: int
) -> list[Scored]:
    """The teachers' rows, from the logits that the transfer set holds of the test split.

    A teacher that reads others costs what it and they cost: their parameters and latencies are added.
    """
    import numpy as np

    from trainables.metrics import scores
    from trainables.statistics import bootstrap_interval
    from trainables.teachers.identity import prefix
    from trainables.transfer_set import TransferSet, materialise

    data = TransferSet.open(materialise(storage, transfer, cache))
    rows = data.rows("test", ())
    labels = np.asarray(data.label[rows])
    scored = []
    for name, fingerprint in teachers.items():
        record = _record(storage, prefix(fingerprint))
        below = [_record(storage, prefix(fp)) for role, fp in record.reads.items() if role in teachers]
        logits = np.asarray(data.teachers[name].logits[rows], dtype=np.float64)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = shifted / shifted.sum(axis=1, keepdims=True)
        metrics = scores(labels, probabilities)
        low, high = bootstrap_interval(labels, probabilities, metric, resamples=resamples)
        row = ModelRow(
            name=f"teacher-{name}",
            role="teacher",
            score=metrics[metric],
            sd=None,
            interval=Interval(low=low, high=high),
            dev_score=float(record.info["dev"][metric]),
            seeds=[int(record.spec.get("training", {}).get("seed", 0))],
            parameters=sum(int(one.info["parameters"]) for one in (record, *below)),
            latency_ms=sum(float(one.info["latency_ms"]) for one in (record, *below)),
            metrics=metrics,
            models=[fingerprint],
        )
        scored.append(Scored(row, labels, probabilities[None]))
    return scored


def gains(best: Scored, others: Sequence[Scored], metric: str, resamples: int) -> list[Gain]:
    """What the best configuration gained over each of the others, utterance by utterance on the same test rows."""
    from trainables.statistics import paired_bootstrap

    found = []
    for other in others:
        d = paired_bootstrap(best.labels, best.probabilities, other.probabilities, metric, resamples=resamples)
        interval = Interval(low=d.low, high=d.high)
        found.append(Gain(over=other.row.name, difference=d.difference, interval=interval, p_value=d.p_value))
    return found


def _record(storage: Storage, prefix: str) -> Record:
    record = read_record(storage, prefix)
    if record is None:
        raise StageError(f"{storage.url(prefix)}: the artifact is gone; run the same command again to make it anew")
    return record
