"""Everything that an MLflow store holds, to be compared before and after."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from orchestrator.tracking.client import connect

Runs = dict[str, dict[str, Any]]
SINGLE = ("best/", "final/", "objective/", "interval/", "fold")
"""Values that have no history, of which the last is looked at alone: each history is a request."""


def everything(uri: str, prefix: str = "") -> dict[str, Any]:
    """Runs, logged models and artifacts (by checksum), with all identifiers and times.

    prefix: of the names of the experiments that are looked at, here and below.
    """
    client = connect(uri)
    experiments = _experiments(client, prefix)
    models = client.search_logged_models(experiments) if experiments else []
    return {
        "runs": runs(uri, prefix),
        "models": {one.model_id: (one.to_dictionary(), _model_files(client, one.model_id)) for one in models},
    }


def runs(uri: str, prefix: str = "") -> Runs:
    """By name; a second one of a name is an error."""
    client, found = connect(uri), Runs()
    experiments = _experiments(client, prefix)
    for run in client.search_runs(experiments, max_results=10000) if experiments else []:
        assert run.info.run_name not in found, f"there are two runs {run.info.run_name}"
        found[run.info.run_name] = _run(client, run)
    return found


def story(uri: str, prefix: str = "") -> Runs:
    """The runs without what differs from one telling of the same sweep to the next: identifiers, who told it, and
    the times of what is not measured but told."""
    told = {"orch.owner", "orch.since", "orch.git_commit", "orch.stage.", "mlflow.parentRunId", "mlflow.user"}
    found = Runs()
    for name, run in runs(uri, prefix).items():
        trial = run["tags"]["orch.kind"] == "trial"
        found[name] = {
            "status": run["status"],
            "params": run["params"],
            "tags": {k: v for k, v in run["tags"].items() if v and not any(k.startswith(one) for one in told)},
            "metrics": {k: h if trial else [(s, v) for s, v, _ in h] for k, h in run["metrics"].items()},
            "inputs": run["inputs"],
            "times": run["times"] if trial else None,
            "artifacts": run["artifacts"],
        }
        found[name]["metrics"] = {k: h for k, h in found[name]["metrics"].items() if not k.startswith("stage/")}
    return found


def _experiments(client: Any, prefix: str) -> list[str]:
    return [one.experiment_id for one in client.search_experiments() if one.name.startswith(prefix)]


def _run(client: Any, run: Any) -> dict[str, Any]:
    history = {
        key: sorted((m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, key))
        for key in run.data.metrics
        if not key.startswith(SINGLE)
    }
    history |= {key: [(-1, value, -1)] for key, value in run.data.metrics.items() if key not in history}
    return {
        "id": run.info.run_id,
        "status": run.info.status,
        "times": (run.info.start_time, run.info.end_time),
        "params": dict(run.data.params),
        "tags": dict(run.data.tags),
        "metrics": history,
        "inputs": sorted((one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs),
        "outputs": sorted(one.model_id for one in run.outputs.model_outputs) if run.outputs else [],
        "artifacts": dict(_files(client, run.info.run_id)),
    }


def _files(client: Any, run_id: str, under: str | None = None) -> Iterator[tuple[str, str]]:
    for one in client.list_artifacts(run_id, under):
        if one.is_dir:
            yield from _files(client, run_id, one.path)
            continue
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(client.download_artifacts(run_id, one.path, scratch))
            yield one.path, sha256(path.read_bytes()).hexdigest()


def _model_files(client: Any, model_id: str) -> list[str]:
    return sorted(one.path for one in client.list_logged_model_artifacts(model_id))
