"""Each failure of an S3 store has its sentence: what is wrong, with the value, and the way out."""

from __future__ import annotations

import re
from email.utils import formatdate
from time import time
from typing import Any

import aiohttp
import pytest
from botocore import exceptions as boto

from trainables.storage import s3_errors

WHERE = "s3://the-bucket/some/key"


def refusal(code: str, status: int = 403, operation: str = "GetObject", **fields: Any) -> boto.ClientError:
    """As botocore parses an answer."""
    headers = {name.replace("_", "-"): str(fields.pop(name)) for name in ("date", "retry_after") if name in fields}
    meta = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    return boto.ClientError({"Error": {"Code": code, **fields}, "ResponseMetadata": meta}, operation)


REFUSED = [
    ("InvalidAccessKeyId", "knows no such access key .* mend AWS_ACCESS_KEY_ID"),
    ("SignatureDoesNotMatch", "secret key is not that of the access key .* mend AWS_ACCESS_KEY_ID and AWS_SECRET"),
    ("ExpiredToken", "session token is expired or wrong .* set AWS_SESSION_TOKEN"),
    ("InvalidToken", "session token is expired or wrong"),
    ("RequestTimeTooSkewed", "this machine's clock is not the store's .* set it right, by NTP"),
    ("NoSuchBucket", "there is no bucket 'the-bucket'; make it, or mend ORCH_STORAGE"),
    ("InvalidBucketName", "'the-bucket' is no name of a bucket"),
    ("PermanentRedirect", "the bucket is of another region .* set AWS_REGION"),
    ("AccessDenied", "the credentials do not allow this .*; grant s3:GetObject on it"),
    ("403", "the credentials do not allow this"),
    ("NotImplemented", "does not know this kind of request .* conditional writes"),
    ("Teapot", r"the store refuses get_object \(Teapot: no message\); see that it speaks S3"),
]


@pytest.mark.parametrize(("code", "told"), REFUSED)
def test_a_refusal_has_its_sentence(code: str, told: str) -> None:
    error = refusal(code)
    assert s3_errors.passing(error) is None
    sentence = s3_errors.sentence(error, WHERE, "get_object")
    assert sentence.startswith(f"{WHERE}: ")
    assert re.search(told, sentence), sentence


def test_the_region_and_the_clock_s_error_are_told_where_the_store_says_them() -> None:
    error = refusal("AuthorizationHeaderMalformed", 400, Region="eu-central-1")
    assert "the bucket is of region eu-central-1 (" in s3_errors.sentence(error, WHERE, "put_object")
    late = refusal("RequestTimeTooSkewed", date=formatdate(time() + 1800, usegmt=True))
    assert "but 1800 s behind it" in s3_errors.sentence(late, WHERE, "put_object").replace("1799", "1800")


def test_what_is_needed_is_named_by_what_was_asked() -> None:
    for method, needed in (("put_object", "s3:PutObject"), ("list_objects_v2", "s3:ListBucket")):
        assert f"grant {needed} on it" in s3_errors.sentence(refusal("AccessDenied"), WHERE, method)


def test_a_role_that_cannot_be_taken_is_not_the_bucket_s_fault() -> None:
    error = refusal("AccessDenied", operation="AssumeRoleWithWebIdentity", Message="Not authorized")
    assert "the role cannot be taken (AccessDenied: Not authorized)" in s3_errors.sentence(
        error, WHERE, "get_object"
    )


@pytest.mark.parametrize(
    "error",
    [
        refusal("SlowDown", 503),
        refusal("503", 503),
        refusal("InternalError", 500),
        refusal("InternalError", 200),
        refusal("RequestTimeout", 400),
        refusal("ThrottlingException", 400),
        refusal("429", 429),
        refusal("ConditionalRequestConflict", 409),
        boto.ReadTimeoutError(endpoint_url="http://x"),
        boto.ConnectTimeoutError(endpoint_url="http://x"),
        boto.EndpointConnectionError(endpoint_url="http://x"),
        boto.ConnectionClosedError(endpoint_url="http://x"),
        boto.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        aiohttp.ClientPayloadError("not enough data"),
        ConnectionResetError(104, "reset"),
        TimeoutError(),
    ],
)
def test_what_passes_is_known(error: Exception) -> None:
    found = s3_errors.passing(error)
    assert found is not None
    assert found[0]


@pytest.mark.parametrize(
    "error",
    [
        refusal("NoSuchKey", 404),
        refusal("PreconditionFailed", 412),
        boto.NoCredentialsError(),
        boto.SSLError(endpoint_url="https://x", error="certificate verify failed"),
        boto.ParamValidationError(report="Invalid bucket name"),
        PermissionError(13, "a local file"),
        OSError(28, "No space left on device"),
        ValueError("a mistake"),
    ],
)
def test_what_does_not_pass_is_not_waited_for(error: Exception) -> None:
    assert s3_errors.passing(error) is None


def test_a_store_that_asks_for_time_is_given_it() -> None:
    assert s3_errors.passing(refusal("SlowDown", 503, retry_after="7")) == ("it answers 503 SlowDown", 7.0)


def test_what_could_not_be_sent_has_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    told = {
        boto.NoCredentialsError(): "there are no credentials; set AWS_ACCESS_KEY_ID",
        boto.SSLError(endpoint_url="https://x", error="certificate"): "no trusted connection to localhost:9000",
        ValueError("Invalid endpoint: localhost:9000"): "AWS_ENDPOINT_URL = 'localhost:9000' is no address",
        boto.ProfileNotFound(profile="mine"): "The config profile (mine) could not be found; mend AWS_*",
    }
    for error, text in told.items():
        assert f"{WHERE}: {text}" in s3_errors.sentence(error, WHERE, "get_object")


@pytest.mark.parametrize("name", s3_errors.SECRETS)
def test_a_secret_that_is_sent_back_is_not_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "a-planted-secret")
    error = refusal("Odd", 400, Message=f"{'x' * 195} a-planted-secret is odd")
    assert "a-planted-secret" not in s3_errors.sentence(error, WHERE, "get_object")
    found = s3_errors.passing(boto.HTTPClientError(error=f"{'x' * 140} a-planted-secret"))
    assert found is not None
    assert "a-plan" not in found[0]
