"""What an S3 store refuses, and who may know it: each refusal its sentence at once, and no secret anywhere."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.services.proxy import FaultProxy
from tests.helpers.services.s3 import S3Server
from trainables.storage import Storage, StorageAway, StorageError, patience
from trainables.storage.s3_system import file_system

PLANTED = "pLaNtEd+sEcReT/0123456789"
TOKEN = "pLaNtEd-tOkEn-0123456789"


@pytest.fixture
def storage(s3_environment: S3Server, bucket: str) -> Storage:
    storage = Storage(f"s3://{bucket}/root")
    storage.write_text("there", "data")
    return storage


def xml(code: str, **fields: str) -> bytes:
    more = "".join(f"<{name}>{value}</{name}>" for name, value in {"Message": "m", **fields}.items())
    return f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code>{more}</Error>'.encode()


REFUSALS: dict[str, tuple[int, str]] = {
    "InvalidAccessKeyId": (403, "knows no such access key"),
    "SignatureDoesNotMatch": (403, "the secret key is not that of the access key"),
    "RequestTimeTooSkewed": (403, "this machine's clock is not the store's"),
    "ExpiredToken": (400, "the session token is expired or wrong"),
    "AccessDenied": (403, "the credentials do not allow this"),
    "AuthorizationHeaderMalformed": (400, "the bucket is of region eu-west-7"),
}
CALLS: dict[str, Callable[[Storage], object]] = {
    "exists": lambda s: s.exists("there"),  # a HEAD, whose answer says only 403
    "read": lambda s: s.read_bytes("there"),
    "write": lambda s: s.write_text("there", "new"),
    "list": lambda s: s.list(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_is_told_at_once(code: str, call: str, storage: Storage, s3_proxy: FaultProxy) -> None:
    status, told = REFUSALS[code]
    s3_proxy.reset()
    s3_proxy.fault("status", code=status, body=xml(code, Region="eu-west-7"))
    with pytest.raises(StorageError, match=told) as caught:
        CALLS[call](storage)
    assert str(caught.value).startswith(f"{storage.root}")
    assert len(s3_proxy.requests) <= 4  # botocore looks for the region by itself


def test_a_bucket_that_is_not_there_is_told(storage: Storage) -> None:
    absent = Storage("s3://no-such-bucket-of-ours/root")
    for call in (CALLS["read"], CALLS["write"], CALLS["list"]):
        with pytest.raises(StorageError, match="there is no bucket 'no-such-bucket-of-ours'; make it, or mend"):
            call(absent)
    with pytest.raises(StorageError, match="Invalid bucket name"):
        Storage("s3://no bucket/root").list()


def test_without_credentials_it_is_told_how_to_give_them(
    storage: Storage, s3_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3_proxy.reset()
    with pytest.raises(StorageError, match="there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS"):
        storage.exists("there")
    monkeypatch.setenv("AWS_PROFILE", "of-nobody")
    with pytest.raises(StorageError, match=r"profile \(of-nobody\) could not be found"):
        storage.exists("there")
    assert s3_proxy.requests == []


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ("localhost:9000", "AWS_ENDPOINT_URL = 'localhost:9000' is no address"),
        ("http://me:pass@localhost:9000", "AWS_ENDPOINT_URL has credentials in it"),
        ("https://127.0.0.1:{port}", "no trusted connection to https://127.0.0.1:[0-9]+ .*http or https"),
    ],
)
def test_a_wrong_endpoint_is_told(
    endpoint: str, told: str, storage: Storage, s3_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint.format(port=s3_proxy.port))
    with patience(2), pytest.raises(StorageError, match=told) as caught:
        storage.exists("there")
    assert "me:pass" not in str(caught.value)


def test_a_planted_secret_is_found_nowhere(
    storage: Storage, s3_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PLANTED)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    written: list[str] = []

    def note(*things: object) -> None:
        for thing in things:
            written.extend((repr(thing), str(thing), pickle.dumps(thing).decode("latin1")))

    with caplog.at_level(logging.DEBUG):
        assert storage.read_text("there") == "data"
        note(storage, storage.at("x"), storage.arrow()[0], file_system())
        for code in ("InvalidToken", "SignatureDoesNotMatch", "Strange", "SlowDown"):
            body = xml(code, StringToSign=PLANTED, Token=TOKEN, Message=f"it is {PLANTED} and {TOKEN}")
            s3_proxy.fault("status", times=4, code=503 if code == "SlowDown" else 400, body=body)
            with patience(0.1), pytest.raises((StorageError, StorageAway)) as caught:
                storage.read_bytes("there")
            note(caught.value)
            written.append(str(caught.getrepr(style="long", chain=True)))
            assert caught.value.__cause__ is None
            s3_proxy.clear()
    written.append(caplog.text)
    text = "\n".join(written)
    assert len(written) > 20
    assert PLANTED not in text
    assert TOKEN not in text


def _read(storage: Storage) -> str:
    return storage.read_text("there")


def test_threads_share_one_client(storage: Storage, s3_proxy: FaultProxy) -> None:
    with ThreadPoolExecutor(8) as pool:
        systems = set(pool.map(lambda _: id(file_system()), range(32)))
        assert list(pool.map(_read, [storage] * 64)) == ["data"] * 64
    assert len(systems) == 1


def test_a_process_forked_after_the_first_read_reads_too(storage: Storage) -> None:
    assert _read(storage) == "data"
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(_read, [storage] * 4).get(timeout=120) == ["data"] * 4
    assert _read(storage) == "data"


def test_the_environment_in_force_counts(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert file_system().client_kwargs == {"region_name": "eu-west-1"}
    monkeypatch.delenv("AWS_REGION")
    assert file_system().client_kwargs == {}
    assert _read(storage) == "data"


def test_arrow_s_file_system_goes_to_another_process(storage: Storage, tmp_path: Path) -> None:
    fs, path = storage.arrow()
    (tmp_path / "pickle").write_bytes(pickle.dumps((fs, path)))
    script = (
        "import pickle, sys; fs, path = pickle.load(open(sys.argv[1], 'rb'));"
        "print(fs.open_input_stream(path + '/there').read().decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "pickle")],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.stdout == "data\n", done.stderr
