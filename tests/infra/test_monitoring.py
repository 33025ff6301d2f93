"""The monitoring component: what it scrapes is there, its expressions parse, its alerts fire when they should."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.infra.documents import Document
from orchestrator.infra.schemas import Schemas
from orchestrator.launch.metrics import METRICS, Metric
from tests.helpers.services.prometheus import MONITORING, expressions, relabelings, rules

INFRA = MONITORING.parents[1]
ALERTS = Path(__file__).with_name("alerts.yaml")
SUFFIXES = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_count", "_sum")}
ADDED = {"namespace", "pod", "ray_io_cluster", "le"}
"""Labels of the scrape and of histograms."""


def exported(metric: Metric) -> list[str]:
    return [f"ray_{metric.name}{suffix}" for suffix in SUFFIXES[metric.kind]]


def asked() -> dict[str, str]:
    """Every expression of the dashboard and of the alerts."""
    alerts = {rule["alert"]: rule["expr"] for group in rules()["groups"] for rule in group["rules"]}
    return {**expressions(), **alerts}


def promtool(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool here: apt-get install prometheus")
    return subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Overlay `local` with the component."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("no kubectl here")
    folder = tmp_path_factory.mktemp("overlay").resolve()
    there = {"resources": INFRA / "overlays/local", "components": MONITORING}
    content = {key: [os.path.relpath(path, folder)] for key, path in there.items()}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content), "utf-8")
    done = subprocess.run([program, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in documents if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def test_every_metric_is_shown_somewhere() -> None:
    text = " ".join(asked().values())
    assert [metric.name for metric in METRICS if not any(name in text for name in exported(metric))] == []


@pytest.mark.parametrize("where", asked())
def test_every_metric_of_ours_that_is_asked_for_exists_with_its_labels(where: str) -> None:
    expression = asked()[where]
    known = {name: metric for metric in METRICS for name in exported(metric)}
    found = set(re.findall(r"ray_orch_\w+", expression))
    assert found <= set(known)
    labels = {label for name in found for label in known[name].tags} | ADDED
    by = {word.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for word in group.split(",")}
    matched = set(re.findall(r"(\w+)(?:=~|!=|!~|=)\"", expression))
    if found:
        assert by | matched <= labels


def test_every_expression_parses(tmp_path: Path) -> None:
    """Those of GPUs, too, which no node here can show."""
    recorded = [
        {"record": f"orch:{number}", "expr": expression} for number, expression in enumerate(asked().values())
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": recorded}]}), "utf-8")
    done = promtool("check", "rules", "rules.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{len(recorded)} rules found" in done.stdout


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()), "utf-8")
    shutil.copy(ALERTS, tmp_path / "alerts.yaml")
    played = {
        case["alertname"]
        for test in yaml.safe_load(ALERTS.read_text("utf-8"))["tests"]
        for case in test["alert_rule_test"]
    }
    assert played == {rule["alert"] for group in rules()["groups"] for rule in group["rules"]}
    done = promtool("test", "rules", "alerts.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_that_is_shown_is_dropped() -> None:
    dropped = [one["regex"] for one in relabelings() if one["action"] == "drop"]
    shown = {name for expression in asked().values() for name in re.findall(r"ray_\w+", expression)}
    assert dropped
    assert [name for name in shown for regex in dropped if re.fullmatch(regex, name)] == []


def test_the_scrape_finds_a_port_of_every_ray_pod(rendered: list[dict[str, Any]]) -> None:
    (endpoint,) = of_kind(rendered, "PodMonitor", "ray")["spec"]["podMetricsEndpoints"]
    (job,) = [one for one in rendered if one["kind"] == "RayJob"]
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        ports = {
            port["name"]: port["containerPort"] for port in group["template"]["spec"]["containers"][0]["ports"]
        }
        assert ports[endpoint["port"]] == 8080


def test_grafana_finds_the_dashboard(rendered: list[dict[str, Any]]) -> None:
    """Its label, its namespace and the account that may read it are those of the chart's values."""
    chart = yaml.safe_load((INFRA / "helm/kube-prometheus-stack.yaml").read_text("utf-8"))["grafana"]
    board = of_kind(rendered, "ConfigMap", "orch-dashboard")
    sidecar = chart["sidecar"]["dashboards"]
    assert board["metadata"]["labels"][sidecar["label"]] == sidecar["labelValue"]
    assert board["metadata"]["namespace"] in sidecar["searchNamespace"]
    assert json.loads(board["data"]["orch.json"])["uid"] == "orch-sweeps"
    (reader,) = of_kind(rendered, "RoleBinding", "grafana-dashboards")["subjects"]
    assert (reader["name"], reader["namespace"]) == (chart["serviceAccount"]["name"], "monitoring")
    (rule,) = of_kind(rendered, "Role", "grafana-dashboards")["rules"]
    assert (rule["resources"], set(rule["verbs"])) == (["configmaps"], {"get", "list", "watch"})


def test_panels_lie_side_by_side() -> None:
    panels = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))["panels"]
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("PodMonitor", "podMetricsEndpoints", "podMetricEndpoints"),
        ("PodMonitor", "scrapeTimeout", "timeout"),
        ("PodMonitor", "15s", "15 seconds"),
        ("PodMonitor", "labeldrop", "dropLabel"),
        ("PrometheusRule", "annotations", "annotation"),
        ("PrometheusRule", "groups", "rules"),
    ],
)
def test_what_the_prometheus_operator_would_drop_or_refuse_is_found(
    rendered: list[dict[str, Any]], kind: str, old: str, new: str
) -> None:
    (there,) = [one for one in rendered if one["kind"] == kind]
    broken = json.loads(json.dumps(there["spec"]).replace(f'"{old}"', f'"{new}"'))
    schemas = Schemas()
    assert list(schemas.findings(Document(there))) == []
    assert list(schemas.findings(Document({**there, "spec": broken})))
