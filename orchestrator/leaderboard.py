"""The confirmed leaderboard and the gains, worked out from stored predictions alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from orchestrator.errors import StageError
from orchestrator.events import Interval, ModelRole, ModelRow, Spread
from orchestrator.summary import Gain
from trainables.artifacts import Record, read_record
from trainables.spec import RunSpec
from trainables.storage import Storage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trainables.transfer_set import TransferSet

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
    """A row of the leaderboard with the test predictions behind it, of all folds together."""

    row: ModelRow
    labels: NDArray[np.int64]
    """[samples]"""
    probabilities: NDArray[np.float64]
    """[seeds, samples, classes]"""


@dataclass(frozen=True)
class Tested:
    """The test rows of one fold, or of the one split."""

    uids: Sequence[str]
    labels: NDArray[np.int64]
    """[samples]"""
    probabilities: NDArray[np.float64]
    """[seeds, samples, classes]"""


def score_students(
    storage: Storage,
    candidates: Sequence[Candidate],
    models: Mapping[str, Sequence[str]],
    metric: str,
    resamples: int,
) -> list[Scored]:
    """One scored row per candidate; `models` gives the fingerprints of its models by the candidate's name."""
    return [_student(storage, one, list(models[one.name]), metric, resamples) for one in candidates]


def _student(storage: Storage, one: Candidate, models: list[str], metric: str, resamples: int) -> Scored:
    import numpy as np

    from trainables.confirm import prefix

    records = [_record(storage, prefix(model)) for model in models]
    of_fold: dict[int | None, list[str]] = {}
    for model, record in zip(models, records, strict=True):
        of_fold.setdefault(record.spec.get("fold"), []).append(model)
    parts = [_tested(storage, own) for own in of_fold.values()]
    tests = [record.info["test"] for record in records]
    facts = ModelRow(
        name=one.name,
        role=one.role,
        score=0.0,
        sd=None,
        interval=Interval(low=0.0, high=0.0),
        dev_score=float(np.mean([record.info["dev_score"] for record in records])),
        seeds=list(dict.fromkeys(int(record.spec["seed"]) for record in records)),
        parameters=round(float(np.mean([record.info["parameters"] for record in records]))),
        latency_ms=float(np.median([record.info["latency_ms"] for record in records])),
        metrics={key: float(np.mean([test[key] for test in tests])) for key in tests[0]},
        params=dict(one.params),
        models=models,
        trial=one.trial,
    )
    recorded = [float(test[metric]) for test in tests] if len(parts) == 1 else None
    return _scored(facts, parts, metric, resamples, recorded)


def _tested(storage: Storage, models: Sequence[str]) -> Tested:
    """What the models of one fold, one a seed, predicted on its test rows."""
    import numpy as np

    from trainables.confirm import read_predictions

    loaded = [read_predictions(storage, model, "test") for model in models]
    return Tested(loaded[0][0], loaded[0][1], np.stack([probabilities for _, _, probabilities in loaded]))


def score_teachers(
    storage: Storage, folds: Sequence[tuple[str, Mapping[str, str]]], cache: Any, metric: str, resamples: int
) -> list[Scored]:
    """The teachers' rows, from the logits that each fold's transfer set holds of its test split.

    `folds`: (transfer set, teachers by name) of each. A teacher that reads others costs what it and they cost:
    their parameters and latencies are added.
    """
    import numpy as np

    from trainables.teachers.identity import prefix
    from trainables.transfer_set import TransferSet, materialise

    sets = [TransferSet.open(materialise(storage, transfer, cache)) for transfer, _ in folds]
    scored = []
    for name in folds[0][1]:
        parts = [_taught(data, name) for data in sets]
        records = [_record(storage, prefix(teachers[name])) for _, teachers in folds]
        chains = [
            [record, *(_record(storage, prefix(fp)) for role, fp in record.reads.items() if role in teachers)]
            for record, (_, teachers) in zip(records, folds, strict=True)
        ]
        facts = ModelRow(
            name=f"teacher-{name}",
            role="teacher",
            score=0.0,
            sd=None,
            interval=Interval(low=0.0, high=0.0),
            dev_score=float(np.mean([record.info["dev"][metric] for record in records])),
            seeds=[int(records[0].spec.get("training", {}).get("seed", 0))],
            parameters=round(fmean(sum(int(one.info["parameters"]) for one in chain) for chain in chains)),
            latency_ms=fmean(sum(float(one.info["latency_ms"]) for one in chain) for chain in chains),
            metrics=_scores(parts)[0],
            models=[teachers[name] for _, teachers in folds],
        )
        scored.append(_scored(facts, parts, metric, resamples))
    return scored


def _taught(data: TransferSet, name: str) -> Tested:
    import numpy as np
    from scipy.special import softmax

    rows = data.rows("test", ())
    logits = np.asarray(data.teachers[name].logits[rows], dtype=np.float64)
    return Tested([str(uid) for uid in data.uid[rows]], np.asarray(data.label[rows]), softmax(logits, axis=1)[None])


def _scored(
    row: ModelRow, parts: Sequence[Tested], metric: str, resamples: int, recorded: Sequence[float] | None = None
) -> Scored:
    """The row with its scores: each seed's as `recorded`, else over all test rows of all folds together."""
    import numpy as np

    from trainables.metrics import confusion
    from trainables.statistics import bootstrap_interval

    _each_once(parts, row.name)
    labels = np.concatenate([part.labels for part in parts])
    probabilities = np.concatenate([part.probabilities for part in parts], axis=1)
    low, high = bootstrap_interval(labels, probabilities, metric, resamples=resamples)
    counts = sum(confusion(labels, one.argmax(axis=1), probabilities.shape[2]) for one in probabilities)
    by_seed = _scores([Tested((), labels, probabilities)])
    change: dict[str, Any] = {"interval": Interval(low=low, high=high), "confusion": np.asarray(counts).tolist()}
    if len(parts) > 1:
        change |= {"metrics": {**row.metrics, **_mean(by_seed)}, "folds": _spreads(parts)}
    each = recorded or [scores[metric] for scores in by_seed]
    change |= {"score": fmean(each), "sd": stdev(each) if len(each) > 1 else None}
    return Scored(row.model_copy(update=change), labels, probabilities)


def _scores(parts: Sequence[Tested]) -> list[dict[str, float]]:
    """Every metric of each seed over all rows of these parts."""
    import numpy as np

    from trainables.metrics import scores

    labels = np.concatenate([part.labels for part in parts])
    return [scores(labels, one) for one in np.concatenate([part.probabilities for part in parts], axis=1)]


def _mean(of_seeds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: fmean(one[name] for one in of_seeds) for name in of_seeds[0]}


def _spreads(parts: Sequence[Tested]) -> dict[str, Spread]:
    """Mean and standard deviation over folds of every metric, each fold's the mean over seeds."""
    folds = [_mean(_scores([part])) for part in parts]
    values = {name: [fold[name] for fold in folds] for name in folds[0]}
    return {name: Spread(mean=fmean(each), sd=stdev(each), each=each) for name, each in values.items()}


def _each_once(parts: Sequence[Tested], name: str) -> None:
    """Folds share no test utterance."""
    seen: set[str] = set()
    for part in parts:
        twice = seen.intersection(part.uids)
        if twice:
            raise StageError(f"{name}: utterance {min(twice)} is tested in two folds; the corpus's folds overlap")
        seen.update(part.uids)


def gains(
    best: Scored, others: Sequence[Scored], metric: str, resamples: int, *, named: bool = False
) -> list[Gain]:
    """What one configuration gained over each of the others, utterance by utterance on the same test rows.

    `named`: whether each gain says which configuration that is.
    """
    from trainables.statistics import paired_bootstrap

    of, found = best.row.name if named else "", []
    for other in others:
        d = paired_bootstrap(best.labels, best.probabilities, other.probabilities, metric, resamples=resamples)
        interval = Interval(low=d.low, high=d.high)
        gain = Gain(of=of, over=other.row.name, difference=d.difference, interval=interval, p_value=d.p_value)
        found.append(gain)
    return found


def _record(storage: Storage, prefix: str) -> Record:
    record = read_record(storage, prefix)
    if record is None:
        raise StageError(f"{storage.url(prefix)}: the artifact is gone; run the same command again to make it anew")
    return record
