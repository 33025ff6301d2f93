"""Data sets and the confirmed student, in the forms that MLflow knows."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from orchestrator.tracking.info import STAND_IN, DataInput, flatten
from trainables.spec.base import in_order
from trainables.spec.student import StudentSpec
from trainables.storage import sha256

_CODE = "orch.code"
_REQUIRED = ("mlflow", "fsspec", "numpy", "pandas", "pydantic", "safetensors", "scikit-learn", "scipy", "torch")
"""What loading a student imports."""


def dataset_inputs(inputs: Sequence[DataInput]) -> list[Any]:
    """MLflow's `DatasetInput` entities by name, digest and place; no data is read."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    def entity(one: DataInput) -> Any:
        kind = one.source.partition("://")[0] if "://" in one.source else "local"
        source = json.dumps({"uri": one.source})
        return Dataset(name=one.name, digest=one.digest[:36], source_type=kind, source=source)

    tags = [InputTag("mlflow.data.context", "distill")]
    return [DatasetInput(dataset=entity(one), tags=tags) for one in inputs]


def log_student(client: Any, experiment_id: str, run_id: str, folder: Path, event: Mapping[str, Any]) -> str:
    """Log the student that `trainables.evaluation.export` left in `folder` as an MLflow model; returns its id.

    event: `name` of the model and whether it is of the `stand_in`. A model of that name with the same
    weights, made by the same run, is left as it is, or finished where its making was cut off. It loads with
    `mlflow.pyfunc.load_model`: weights and description lie in it as safetensors and JSON, its code as files, and
    nothing is pickled.
    """
    facts = json.loads((folder / "student.json").read_text("utf-8"))
    made = {**event, "weights": sha256(folder / "student.safetensors"), "code": _code_digest()}
    model = _made(client, experiment_id, run_id, facts, made)
    model_id = str(model.model_id)
    if str(model.status) == "READY":
        return model_id
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "model"
        _save(folder, target, facts, model_id, run_id)
        _upload(client, model_id, target, {} if model.tags.get(_CODE) != made["code"] else _there(client, model_id))
    _joined(client, run_id, model_id)
    client.finalize_logged_model(model_id, "READY")
    return model_id


def _made(client: Any, experiment_id: str, run_id: str, facts: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
    """MLflow's entity of the model, created where there is none; READY once all of it is there."""
    same = f"name = '{event['name']}' AND tags.`orch.weights` = '{event['weights']}'"
    found = [one for one in client.search_logged_models([experiment_id], same) if one.source_run_id == run_id]
    if found:
        return min(found, key=lambda one: str(one.status) != "READY")
    params = {k: v[:6000] for k, v in flatten({"student": facts["student"]}).items()}
    tags = {
        "orch.weights": event["weights"],
        STAND_IN: str(event["stand_in"]).lower(),
        "orch.transfer_set": facts["transfer_set"],
        _CODE: event["code"],
    }
    return client.create_logged_model(
        experiment_id, event["name"], source_run_id=run_id, tags=tags, params=params, model_type="student"
    )


def _upload(client: Any, model_id: str, folder: Path, there: Mapping[str, int | None]) -> None:
    """File by file, but for those that are `there` in their size: on a line that often breaks the hundreds of files
    of a model would never arrive in one go."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        place = path.relative_to(folder)
        if there.get(place.as_posix(), -1) != path.stat().st_size:
            under = place.parent.as_posix() if place.parent.parts else None
            client.log_model_artifact(model_id, str(path), under)


def _there(client: Any, model_id: str, under: str | None = None) -> dict[str, int | None]:
    """The files of a model by their path, with their sizes."""
    found: dict[str, int | None] = {}
    for one in client.list_logged_model_artifacts(model_id, under):
        found |= _there(client, model_id, one.path) if one.is_dir else {one.path: one.file_size}
    return found


def _code_digest() -> str:
    """Of the code that goes with the model."""
    import trainables

    package = Path(trainables.__file__).parent
    files = sorted(package.rglob("*.py"))
    told = "".join(f"{path.relative_to(package)} {sha256(path)}\n" for path in files)
    return hashlib.sha256(told.encode()).hexdigest()


def _joined(client: Any, run_id: str, model_id: str) -> None:
    """Show the model among what the run has made, once."""
    from mlflow.entities import LoggedModelOutput

    known = getattr(client.get_run(run_id).outputs, "model_outputs", None) or []
    if all(one.model_id != model_id for one in known):
        client.log_outputs(run_id, models=[LoggedModelOutput(model_id, step=0)])


def signature(facts: Mapping[str, Any]) -> Any:
    """Features of the transfer set in, a probability for each label out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    student: StudentSpec = TypeAdapter(StudentSpec).validate_python(facts["student"])
    streams = in_order(student.modalities)
    optional = student.reads_vectors  # such a student does with whichever of its modalities are there
    own = {
        "log_mel": (Array(Array(DataType.double)), "frames"),
        "tokens": (Array(DataType.long), "tokens"),
        "images": (Array(Array(Array(DataType.long))), "images"),
        "vectors": (Array(Array(DataType.double)), "{}_vectors"),
    }
    kinds = {m: own[facts["sizes"]["streams"][m][0]] for m in streams if student.reads_features}
    read = [ColSpec(kind, name=name.format(m), required=not optional) for m, (kind, name) in kinds.items()]
    if student.needs.frames:
        read += [ColSpec(Array(Array(DataType.double)), name=f"{m}_frames") for m in streams]
    read += [ColSpec(Array(Array(DataType.long)), name=f"{g}_segments") for g in student.needs.segments]
    return ModelSignature(
        inputs=Schema(read), outputs=Schema([ColSpec(DataType.double, name=label) for label in facts["labels"]])
    )


def _save(folder: Path, target: Path, facts: Mapping[str, Any], model_id: str, run_id: str) -> None:
    import mlflow.pyfunc
    from mlflow.models import Model

    import trainables

    exported = target.parent / "student"
    exported.mkdir()
    for name in ("student.safetensors", "student.json"):
        shutil.copyfile(folder / name, exported / name)
    code = target.parent / "trainables"
    shutil.copytree(Path(trainables.__file__).parent, code, ignore=shutil.ignore_patterns("__pycache__"))
    with warnings.catch_warnings():
        # It wants an input example, which it would then run here; a test does that.
        warnings.simplefilter("ignore")
        # Our image has no pip, whose version it would note.
        logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
        mlflow.pyfunc.save_model(
            str(target),
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"student": str(exported)},
            code_paths=[str(code)],
            signature=signature(facts),
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in _REQUIRED],
            metadata={"stand_in": facts["stand_in"], "transfer_set": facts["transfer_set"]},
            mlflow_model=Model(model_id=model_id, run_id=run_id),
        )
