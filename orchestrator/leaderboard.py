"""The confirmed leaderboard and the gains, worked out from stored predictions alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from orchestrator.errors import StageError
from orchestrator.events import ConditionScore, Interval, ModelRole, ModelRow, Spread
from orchestrator.label_scores import by_label
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
    labels: NDArray[Any]
    """[samples], or [samples, classes] of 0 and 1 where there may be several"""
    probabilities: NDArray[np.float64]
    """[seeds, samples, classes]"""


@dataclass(frozen=True)
class Tested:
    """The test rows of one fold, or of the one split."""

    uids: Sequence[str]
    labels: NDArray[Any]
    """[samples], or [samples, classes]"""
    probabilities: NDArray[np.float64]
    """[seeds, samples, classes]"""
    thresholds: NDArray[np.float64] | None = None
    """[seeds, classes], fitted on dev, where there may be several labels."""


def score_students(
    storage: Storage,
    candidates: Sequence[Candidate],
    models: Mapping[str, Sequence[str]],
    metric: str,
    resamples: int,
    *,
    tried: Mapping[str, str] | None = None,
) -> list[Scored]:
    """One scored row per candidate; `models` gives the fingerprints of its models by the candidate's name, `tried`
    those of their evaluations on missing and damaged input by the model's."""
    return [_student(storage, one, models[one.name], metric, resamples, tried=tried or {}) for one in candidates]


def _student(
    storage: Storage,
    one: Candidate,
    models: Sequence[str],
    metric: str,
    resamples: int,
    *,
    tried: Mapping[str, str],
) -> Scored:
    import numpy as np

    from trainables.conditions import model_prefix

    records = [_record(storage, model_prefix(model)) for model in models]
    of_fold: dict[int | None, list[str]] = {}
    for model, record in zip(models, records, strict=True):
        of_fold.setdefault(record.spec.get("fold"), []).append(model)
    thresholds = {model: record.info["thresholds"] for model, record in zip(models, records, strict=True)}
    parts = [_tested(storage, own, thresholds) for own in of_fold.values()]
    harmed = [_harmed(storage, own, part, tried) for own, part in zip(of_fold.values(), parts, strict=True)]
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
        models=list(models),
        trial=one.trial,
    )
    recorded = [float(test[metric]) for test in tests] if len(parts) == 1 else None
    scored = _scored(facts, parts, metric, resamples, recorded, names=records[0].info["labels"])
    conditions = _conditions(scored, harmed, metric, resamples)
    return replace(scored, row=scored.row.model_copy(update={"robustness": conditions}))


def _tested(storage: Storage, models: Sequence[str], thresholds: Mapping[str, list[float] | None]) -> Tested:
    """What the models of one fold, one a seed, predicted on its test rows."""
    import numpy as np

    from trainables.confirm import read_predictions

    loaded = [read_predictions(storage, model, "test") for model in models]
    fitted = [thresholds[model] for model in models]
    limits = None if None in fitted else np.asarray(fitted)
    return Tested(loaded[0][0], loaded[0][1], np.stack([probabilities for _, _, probabilities in loaded]), limits)


def _harmed(storage: Storage, models: Sequence[str], clean: Tested, tried: Mapping[str, str]) -> dict[str, Tested]:
    """By condition what the same models predicted on the same rows; empty where they were not tried."""
    import numpy as np

    from trainables.conditions import prefix
    from trainables.robustness import read_predictions

    if not all(model in tried for model in models):
        return {}
    loaded = [read_predictions(storage, tried[model]) for model in models]
    for model, found in zip(models, loaded, strict=True):
        strange = [name for name, (uids, _) in found.items() if uids != clean.uids]
        if strange:
            raise StageError(
                f"{prefix(tried[model])}: {strange[0]} is not of the rows that model {model} was tested on; "
                "remove it and run the same command again"
            )
    return {
        name: replace(clean, probabilities=np.stack([found[name][1] for found in loaded])) for name in loaded[0]
    }


def _conditions(
    clean: Scored, harmed: Sequence[Mapping[str, Tested]], metric: str, resamples: int
) -> list[ConditionScore]:
    """`harmed`: fold by fold, in the order of the clean rows."""
    import numpy as np

    from trainables.statistics import against

    names = list(harmed[0])
    if not names:
        return []
    parts = {name: [fold[name] for fold in harmed] for name in names}
    stacks = [np.concatenate([part.probabilities for part in parts[name]], axis=1) for name in names]
    found = against(clean.labels, clean.probabilities, stacks, metric, resamples=resamples)
    return [
        ConditionScore(
            name=name,
            score=metrics[metric],
            interval=Interval(low=one.low, high=one.high),
            change=metrics[metric] - clean.row.score,
            change_interval=Interval(low=one.change.low, high=one.change.high),
            metrics=metrics,
        )
        for name, one in zip(names, found, strict=True)
        for metrics in (_mean(_scores(parts[name])),)
    ]


def score_teachers(
    storage: Storage, folds: Sequence[tuple[str, Mapping[str, str]]], cache: Any, metric: str, resamples: int
) -> list[Scored]:
    """The teachers' rows, from the logits that each fold's transfer set holds of its test split.

    `folds`: (transfer set, teachers by name) of each. A teacher that reads others costs what it and they cost:
    their parameters and latencies are added.
    """
    import numpy as np

    from trainables.teachers.identity import prefix
    from trainables.transfer_set import TransferSet

    sets = [TransferSet.fetched(storage, transfer, cache) for transfer, _ in folds]
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
        scored.append(_scored(facts, parts, metric, resamples, names=sets[0].labels))
    return scored


def _taught(data: TransferSet, name: str) -> Tested:
    import numpy as np

    from trainables.metrics import probabilities_of, tuned_thresholds

    def said(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return probabilities_of(np.asarray(data.teachers[name].logits[rows]), data.multi_label)

    rows, dev = data.rows("test", ()), data.rows("dev", ())
    limits = tuned_thresholds(data.truth[dev], said(dev))[None] if data.multi_label else None
    return Tested([str(uid) for uid in data.uid[rows]], np.asarray(data.truth[rows]), said(rows)[None], limits)


def _scored(
    row: ModelRow,
    parts: Sequence[Tested],
    metric: str,
    resamples: int,
    recorded: Sequence[float] | None = None,
    *,
    names: Sequence[str],
) -> Scored:
    """The row with its scores: each seed's as `recorded`, else over all test rows of all folds together.

    `names`: of the labels.
    """
    import numpy as np

    from trainables.statistics import bootstrap_interval

    _each_once(parts, row.name)
    labels = np.concatenate([part.labels for part in parts])
    probabilities = np.concatenate([part.probabilities for part in parts], axis=1)
    low, high = bootstrap_interval(labels, probabilities, metric, resamples=resamples)
    by_seed = _scores(parts)
    change: dict[str, Any] = {"interval": Interval(low=low, high=high)}
    if labels.ndim == 2:
        change["by_label"] = by_label(labels, probabilities, _limits(parts), names)
    else:
        change["confusion"] = _confusion(labels, probabilities)
    if len(parts) > 1:
        change |= {"metrics": {**row.metrics, **_mean(by_seed)}, "folds": _spreads(parts)}
    each = recorded or [scores[metric] for scores in by_seed]
    change |= {"score": fmean(each), "sd": stdev(each) if len(each) > 1 else None}
    return Scored(row.model_copy(update=change), labels, probabilities)


def _confusion(labels: NDArray[Any], probabilities: NDArray[np.float64]) -> list[list[int]]:
    import numpy as np

    from trainables.metrics import confusion

    counts = sum(confusion(labels, one.argmax(axis=1), probabilities.shape[2]) for one in probabilities)
    return [[int(count) for count in row] for row in np.asarray(counts)]


def _limits(parts: Sequence[Tested]) -> NDArray[np.float64]:
    """[seeds, samples, classes]: each row's thresholds, those of its fold."""
    import numpy as np

    each = []
    for part in parts:
        assert part.thresholds is not None
        each.append(np.repeat(part.thresholds[:, None], len(part.labels), axis=1))
    return np.concatenate(each, axis=1)


def _scores(parts: Sequence[Tested]) -> list[dict[str, float]]:
    """Every metric of each seed over all rows of these parts; with several labels at the fitted thresholds, too."""
    import numpy as np

    from trainables.metrics import scores, tuned_scores

    labels = np.concatenate([part.labels for part in parts])
    probabilities = np.concatenate([part.probabilities for part in parts], axis=1)
    found = [scores(labels, one) for one in probabilities]
    if labels.ndim == 1:
        return found
    limits = _limits(parts)
    return [own | tuned_scores(labels, p, t) for own, p, t in zip(found, probabilities, limits, strict=True)]


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
