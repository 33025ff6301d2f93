"""What a sweep is known by, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.experiment import load, representation_epochs, sweep_fingerprint
from orchestrator.plan import generation, harvest_needs, make_plan
from tests.helpers.transfer_sets import synthetic
from trainables.method import Setting
from trainables.methods import METHODS
from trainables.spec import CMD, RunSpec, TrainingSpec
from trainables.storage import Storage
from trainables.students import Widths
from trainables.transfer_set import TransferSet


def test_a_sweep_keeps_its_folder_until_a_fresh_one_is_asked_for(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    assert generation(storage, "cmd-meld", "f", fresh=False) == "sweeps/cmd-meld-f"
    assert generation(storage, "cmd-meld", "f", fresh=True) == "sweeps/cmd-meld-f"
    for folder in ("cmd-meld-f", "cmd-meld-f.r2", "cmd-meld-f.r10", "cmd-meld-g.r30", "cmd-meld-f.rx"):
        storage.write_text(f"sweeps/{folder}/trials/0", "{}")
    assert generation(storage, "cmd-meld", "f", fresh=False) == "sweeps/cmd-meld-f.r10"
    assert generation(storage, "cmd-meld", "f", fresh=True) == "sweeps/cmd-meld-f.r11"


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("search.trials=99", True),
        ("resources.trial.cpus=2", True),
        ("confirm.seeds=7", True),
        ("claim=another", True),
        ("run.seed=1", False),
        ("run.training.learning_rate=0.5", False),
        ("search.seed=1", False),
        ("search.startup_trials=2", False),
    ],
)
def test_circumstance_is_no_part_of_a_sweep_s_identity(change: str, same: bool) -> None:
    base = sweep_fingerprint(load("cmd-meld"), "t")
    assert (sweep_fingerprint(load("cmd-meld", sets=[change]), "t") == base) is same
    assert sweep_fingerprint(load("cmd-meld"), "u") != base


def test_the_harvest_keeps_what_any_point_of_the_space_may_need() -> None:
    assert not harvest_needs(load("cmd-meld")).attention
    assert harvest_needs(load("cmd-meld", sets=["run.method.attention_weight=0.1"])).attention


WIDTHS = Widths(8, {"audio": 4, "text": 4}, {"audio": 4, "text": 4})


def test_the_harvest_keeps_what_an_ablation_may_need() -> None:
    change = "confirm.ablations={attention: {method.attention_weight: 0.1}}"
    assert harvest_needs(load("cmd-meld", sets=[change])).attention
    elsewhere = "confirm.ablations={frames: {student.levels: [frame]}}"
    space = "search.space={student.type: {type: choice, values: [audio_text_transformer, multi_level_fusion]}}"
    assert harvest_needs(load("cmd-meld", sets=[elsewhere, space])).frames


def test_one_split_is_one_fold_without_a_number() -> None:
    plan = make_plan(load("cmd-meld", stand_in=True), stand_in=True, corpus_root=None)
    assert [(one.fold, one.run) for one in plan.folds] == [(None, plan.run)]
    assert plan.sweep == sweep_fingerprint(plan.spec, plan.folds[0].transfer_set)
    assert plan.transfer_sets == {None: plan.folds[0].transfer_set}


def test_every_fold_has_its_own_teachers_and_transfer_set() -> None:
    spec = load("cmd-meld", stand_in=True, sets=["run.corpus.folds=3"])
    plan = make_plan(spec, stand_in=True, corpus_root=None)
    assert [(one.fold, one.run.fold) for one in plan.folds] == [(0, 0), (1, 1), (2, 2)]
    assert len({fp for one in plan.folds for fp in one.teachers.values()}) == 9
    assert len(set(plan.transfer_sets.values())) == 3
    assert plan.sweep == sweep_fingerprint(spec, *plan.transfer_sets.values())


def test_one_fold_alone_is_that_fold_of_all() -> None:
    three = load("cmd-meld", stand_in=True, sets=["run.corpus.folds=3"])
    one = load("cmd-meld", stand_in=True, sets=["run.corpus.folds=3", "run.fold=1"])
    plans = [make_plan(spec, stand_in=True, corpus_root=None) for spec in (three, one)]
    assert plans[1].folds == (plans[0].folds[1],)
    assert plans[1].sweep != plans[0].sweep


@pytest.mark.parametrize("epochs", [1, 2, 5, 12, 40])
@pytest.mark.parametrize("phase_one", [0.0, 0.05, 0.2, 0.3, 0.5, 1.0])
def test_representation_epochs_are_those_that_the_method_spends(
    tmp_path_factory: pytest.TempPathFactory, epochs: int, phase_one: float
) -> None:
    run = RunSpec(method=CMD(phase_one=phase_one), training=TrainingSpec(epochs=epochs))
    data = _data(tmp_path_factory)
    method = METHODS["cmd"](Setting(run, data, data.rows("train", run.student.modalities), WIDTHS))
    progress = [(epoch - 1) / (epochs - 1) if epochs > 1 else 1.0 for epoch in range(1, epochs + 1)]
    spent = sum(method.phase(value) == "representation" for value in progress)
    assert spent == representation_epochs(run)


_CACHE: dict[str, TransferSet] = {}


def _data(factory: pytest.TempPathFactory) -> TransferSet:
    if "one" not in _CACHE:
        _CACHE["one"] = synthetic(factory.mktemp("set"), n=40)
    return _CACHE["one"]
