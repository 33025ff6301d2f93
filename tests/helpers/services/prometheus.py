"""Debian's Prometheus, scraping what a test names, and what the manifests make of it: rules and dropped series."""

from __future__ import annotations

import json
import re
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.services.process import Service, free_port, listens

MONITORING = Path(__file__).parents[3] / "infra/components/monitoring"
NODE_GPUS = re.compile(r"ray_node_(gpus|gram)_|Name=\"GPU\"")
"""What a node without a GPU has no series of."""


def rules() -> dict[str, Any]:
    """The alerts as Prometheus itself reads them."""
    spec: dict[str, Any] = yaml.safe_load((MONITORING / "alerts.yaml").read_text("utf-8"))["spec"]
    return spec


def relabelings() -> list[dict[str, Any]]:
    """The PodMonitor's, in Prometheus' own spelling."""
    monitor = yaml.safe_load((MONITORING / "scrape.yaml").read_text("utf-8"))
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    names = {"sourceLabels": "source_labels"}
    return [{names.get(key, key): value for key, value in one.items()} for one in endpoint["metricRelabelings"]]


def expressions() -> dict[str, str]:
    """The dashboard's, by panel and letter, its variables filled in as Grafana does for "All"."""
    board = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
    values = {"$namespace": "orch", "$cluster": ".*", "$experiment": ".*", "$__rate_interval": "30s"}
    found = {}
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            expression = str(target["expr"])
            for name, value in values.items():
                expression = expression.replace(name, value)
            found[f"{panel['title']} {target['refId']}"] = expression
    return found


class Prometheus:
    def __init__(self, address: str) -> None:
        self.address = address

    def at(self, expression: str, time: float) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series at that time."""
        found = self._ask("query", query=expression, time=str(time))
        series = found["result"] if found["resultType"] == "vector" else [{"metric": {}, "value": found["result"]}]
        return [(one["metric"], float(one["value"][1])) for one in series]

    def between(self, expression: str, start: float, end: float) -> list[dict[str, str]]:
        """The labels of each series that was there at any time."""
        found = self._ask("query_range", query=expression, start=str(start), end=str(end), step="2")
        return [one["metric"] for one in found["result"]]

    def _ask(self, what: str, **parameters: str) -> dict[str, Any]:
        """Raises HTTPError for an expression that cannot be parsed."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.address}/api/v1/{what}?{query}", timeout=30) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, Sequence[str]]) -> Iterator[Prometheus]:
    """`targets`: by pod the addresses that are scraped as the PodMonitor says. Skips where no Prometheus is."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus here: apt-get install prometheus")
    folder.mkdir(parents=True, exist_ok=True)
    labels = {"namespace": "orch", "ray_io_cluster": "sweep"}
    scraped = [{"targets": list(there), "labels": {**labels, "pod": pod}} for pod, there in targets.items()]
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules()), "utf-8")
    config = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "ray", "static_configs": scraped, "metric_relabel_configs": relabelings()}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), "utf-8")
    port = free_port()
    command = [program, f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    with Service(command, folder / "prometheus.log", lambda: listens("127.0.0.1", port)):
        yield Prometheus(f"http://127.0.0.1:{port}")
