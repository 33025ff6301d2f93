"""`orch doctor` on real servers: what is well, and each broken piece by its name with the way to mend it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import doctor
from orchestrator.doctor import servers
from orchestrator.settings import Settings, load
from tests.helpers.cli import bare_machine, orch
from tests.helpers.services.proxy import FaultProxy
from tests.helpers.services.s3 import S3Server
from trainables.storage import Storage


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_environment: S3Server, bucket: str) -> None:
    bare_machine(tmp_path, monkeypatch)
    monkeypatch.setenv("ORCH_STORAGE", f"s3://{bucket}/root")
    monkeypatch.setattr(servers, "PATIENCE_SECONDS", 1.0)
    checks: tuple[Callable[[Settings], list[doctor.Finding]], ...] = (servers.storage,)
    monkeypatch.setattr(doctor, "CHECKS", checks)


def told() -> tuple[int, str]:
    done = orch("doctor")
    return done.code, " ".join(done.out.split())


def test_a_storage_that_does_all_a_sweep_needs_is_left_as_it_was(s3: S3Server, bucket: str) -> None:
    code, text = told()
    assert code == 0
    assert f"ok storage: s3://{bucket}/root: written, read, listed and removed in" in text
    assert s3.objects(bucket) == {}


def refusal(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("InvalidAccessKeyId", "no such access key (InvalidAccessKeyId); mend AWS_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", "the secret key is not that of the access key"),
        ("AccessDenied", "the credentials do not allow this (AccessDenied); grant s3:PutObject"),
        ("RequestTimeTooSkewed", "this machine's clock is not the store's"),
    ],
)
def test_what_a_store_refuses_is_named(code: str, words: str, s3_proxy: FaultProxy) -> None:
    s3_proxy.fault("status", code=403, body=refusal(code))
    assert told()[0] == 1
    assert words in told()[1]


def test_a_bucket_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_STORAGE", "s3://nobody-made-it/root")
    code, text = told()
    assert (code, "there is no bucket 'nobody-made-it'; make it, or mend ORCH_STORAGE" in text) == (1, True)


def test_a_store_that_is_away_is_not_waited_for_as_a_sweep_would(s3_proxy: FaultProxy) -> None:
    s3_proxy.fault("refuse")
    code, text = told()
    assert (code, "has been away for" in text) == (1, True)


def test_a_store_that_ignores_conditions_is_refused(monkeypatch: pytest.MonkeyPatch, s3_proxy: FaultProxy) -> None:
    """Answers every first and second write with a yes, as some stores do."""
    monkeypatch.setattr(Storage, "create", lambda self, key, data: self.write_bytes(key, data) is None)
    code, text = told()
    assert (code, "take one that has conditional writes (If-None-Match)" in text) == (1, True)


def test_a_clock_that_is_off_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 300)
    found = servers.storage(load())
    assert [one.level for one in found] == ["ok", "warn"]
    assert "ahead of the storage's" in found[1].told
