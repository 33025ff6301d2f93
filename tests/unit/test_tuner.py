"""What Tune sends to the trials' processes beside the trial."""

from __future__ import annotations

import json

import pytest

from orchestrator.launch import tuner


def test_no_key_of_the_driver_is_sent_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray logs a runtime environment on every node, and shows it in its dashboard."""
    from ray import tune
    from ray.tune.execution.class_cache import _ActorClassCache

    class Unused:
        def __init__(self, *given: object, **named: object) -> None: ...
        def fit(self) -> None: ...

    for name in tuner.CREDENTIALS:
        monkeypatch.setenv(name, f"planted-{name}")
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    monkeypatch.setattr(tune, "Tuner", Unused)
    tuner.fit_here(print)
    made = _ActorClassCache().get(type("Trainable", (), {}))
    sent = json.dumps(made._default_options["runtime_env"]["env_vars"])
    assert "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S" in sent
    assert "planted" not in sent
