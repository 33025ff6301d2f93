"""A confirmed student as an MLflow model: it loads by itself, without a pickle, and answers as the student does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.tracking import MlflowObserver, SweepInfo
from orchestrator.tracking.artifacts import signature
from orchestrator.tracking.client import connect
from orchestrator.tracking.observer import Level
from tests.helpers.batches import row_of
from tests.helpers.transfer_sets import synthetic
from trainables.evaluation import export, predict
from trainables.spec import RunSpec, StandInSpec
from trainables.spec.base import MODALITIES, Modality
from trainables.spec.student import AnyStudent, AudioTextTransformer, CrossModalTransformer, MultiLevelFusion
from trainables.students import build_student
from trainables.transfer_set import TransferSet

LOAD = """
import json, sys
import mlflow
import pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
given = json.loads(open(sys.argv[3]).read())
answer = model.predict(pd.DataFrame(given))
import trainables
print(json.dumps({
    "probabilities": answer.to_numpy().tolist(), "labels": list(answer.columns), "code": trainables.__file__,
    "inputs": model.metadata.get_input_schema().input_names(),
    "outputs": model.metadata.get_output_schema().input_names(),
    "scores": "sklearn" in sys.modules,
}))
"""


COLUMNS: dict[Modality, str] = {"audio": "frames", "text": "tokens", "visual": "images"}
SOUND: dict[str, Any] = {"audio": ["log_mel", 80], "text": ["tokens", 500], "visual": ["images", 48]}
VECTORS: dict[str, Any] = {"audio": ["vectors", 74], "visual": ["vectors", 36]}
EVERY = CrossModalTransformer(modalities=MODALITIES, width=16, heads=2)


def rows(
    data: TransferSet, index: np.ndarray[Any, Any], modalities: tuple[Modality, ...]
) -> dict[str, list[Any] | None]:
    return {COLUMNS[m]: [row_of(data, m, i).tolist() for i in index] for m in modalities}


@pytest.mark.parametrize(
    ("student", "streams", "names"),
    [
        (AudioTextTransformer(), SOUND, ["frames", "tokens"]),
        (AudioTextTransformer(modalities=("text",)), SOUND, ["tokens"]),
        (AudioTextTransformer(modalities=("audio",)), SOUND, ["frames"]),
        (EVERY, SOUND, ["frames", "tokens", "images"]),
        (CrossModalTransformer(), VECTORS, ["audio_vectors", "visual_vectors"]),
        (MultiLevelFusion(levels=("frame", "word")), SOUND, ["audio_frames", "text_frames", "word_segments"]),
        (MultiLevelFusion(modalities=("text",)), SOUND, ["text_frames"]),
    ],
)
def test_the_signature_asks_for_what_the_student_reads(
    student: AnyStudent, streams: dict[str, Any], names: list[str]
) -> None:
    facts = {"student": student.model_dump(mode="json"), "sizes": {"streams": streams}, "labels": ["joy", "anger"]}
    found = signature(facts)
    assert found.inputs.input_names() == names and found.outputs.input_names() == ["joy", "anger"]
    assert found.inputs.required_input_names() == ([] if student.reads_vectors else names)


@pytest.mark.parametrize(
    ("spec", "kept"),
    [(AudioTextTransformer(width=16, heads=2), ("audio", "text")), (EVERY, ("audio",))],
    ids=["all-it-reads", "a-column-left-out-and-one-of-nulls"],
)
def test_the_model_loads_and_answers_as_the_student(
    tmp_path: Path, spec: AudioTextTransformer | CrossModalTransformer, kept: tuple[Modality, ...]
) -> None:
    data = synthetic(tmp_path, modalities=spec.modalities, missing=0)
    run = RunSpec(corpus=StandInSpec(modalities=spec.modalities), student=spec)
    student = build_student(run.student, data, seed=0)
    export(student, run, data, tmp_path / "exported")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    info = SweepInfo(sweep="s-ab12", stand_in=True, artifact_location=str(tmp_path / "mlflow-artifacts"))
    said: list[str] = []

    def say(text: str, level: Level) -> None:
        said.append(text)

    for _ in range(2):
        with MlflowObserver(info, uri=uri, spool=tmp_path / "spool", say=say, every=0.02) as watch:
            watch.model(tmp_path / "exported", row="best-1")
        assert watch.close()
    assert said == []
    client = connect(uri)
    experiment = client.get_experiment_by_name("orch").experiment_id
    (logged,) = client.search_logged_models([experiment])
    assert str(logged.status) == "READY" and logged.tags["orch.stand_in"] == "true"
    assert logged.params["student.width"] == "16"
    files = [p for p in (tmp_path / "mlflow-artifacts").rglob("*") if p.is_file()]
    assert not [p for p in files if p.suffix in (".pkl", ".pickle", ".pt", ".bin")]
    (wanted,) = [p.read_text() for p in files if p.name == "requirements.txt"]
    expected = predict(student, data, "test", kept=kept)
    given = rows(data, expected.index, kept)
    if "text" not in kept:
        given["tokens"] = None
    (tmp_path / "rows.json").write_text(json.dumps(given))
    command = [sys.executable, "-c", LOAD, uri, f"models:/{logged.model_id}", str(tmp_path / "rows.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert Path(answer["code"]).is_relative_to(tmp_path), "the model does not carry its own code"
    assert answer["scores"] <= ("scikit-learn" in wanted), "the model does not say what it imports"
    assert answer["labels"] == answer["outputs"] == list(data.labels)
    assert answer["inputs"] == [COLUMNS[m] for m in spec.modalities]
    np.testing.assert_allclose(answer["probabilities"], expected.probabilities, atol=1e-5)
