"""What an S3 store's failures mean: which pass by themselves, and what to tell of the others.

No sentence holds what the store sent beside its code and message: an answer repeats the token that it was sent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from botocore import exceptions as boto

PASSING_STATUS = {408, 429, 500, 502, 503, 504, 507}
PASSING_CODES = {
    "BadDigest", "ConditionalRequestConflict", "IncompleteBody", "InternalError", "OperationAborted",
    "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable", "SlowDown", "TooManyRequests",
    "TooManyRequestsException", "XAmzContentSHA256Mismatch",
}  # fmt: skip
PASSING_ERRORS = (
    boto.HTTPClientError,
    boto.ConnectionError,
    boto.IncompleteReadError,
    boto.FlexibleChecksumError,
    aiohttp.ClientError,
    TimeoutError,
    ConnectionError,
)
BARE = {"301", "307", "400", "403"}
"""Codes of an answer without a body, which does not say what was wrong."""
SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")

_KEY = "mend AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role in their place"
_REGION = {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "301", "307"}
_CLOCK = {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"}
_TOKEN = {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"}
_NEEDS = {
    "get_object": "s3:GetObject",
    "head_object": "s3:GetObject, and s3:ListBucket to see that there is none",
    "delete_object": "s3:DeleteObject",
    "delete_objects": "s3:DeleteObject",
    "list_objects_v2": "s3:ListBucket",
}


def code_of(error: BaseException | None) -> str:
    """The store's code, such as NoSuchKey, of an error or of what caused it; empty where it sent none."""
    while error is not None and not isinstance(error, boto.ClientError):
        error = error.__cause__
    return "" if error is None else str(error.response.get("Error", {}).get("Code", ""))


def passing(error: Exception) -> tuple[str, float] | None:
    """The reason in words and the seconds that the store asks to wait; None for what will not pass by itself."""
    if isinstance(error, boto.ClientError):
        meta = error.response.get("ResponseMetadata", {})
        status, code = int(meta.get("HTTPStatusCode") or 0), code_of(error)
        if status not in PASSING_STATUS and code not in PASSING_CODES and "Throttl" not in code:
            return None
        asked = str(meta.get("HTTPHeaders", {}).get("retry-after", ""))
        told = f"it answers {status}" if code == str(status) else f"it answers {status} {code}"
        return told, float(asked) if asked.isdigit() else 0.0
    if isinstance(error, boto.SSLError) or not isinstance(error, PASSING_ERRORS):
        return None
    return _brief(error), 0.0


def away(where: str, waited: float, reason: str) -> str:
    return (
        f"{where}: the store at {endpoint()} has been away for {waited:.0f} s (last: {reason}); see that it runs "
        "and can be reached from here; ORCH_STORAGE_PATIENCE is the seconds that it is waited for"
    )


def sentence(error: Exception, where: str, method: str) -> str:
    """What the user did wrong, with the way out. `where` is the URL, `method` the client's."""
    if isinstance(error, boto.ClientError):
        return scrubbed(f"{where}: {_refused(error, where, method)}")
    return scrubbed(f"{where}: {_not_sent(error)}")


def _refused(error: Any, where: str, method: str) -> str:  # noqa: PLR0911 - a table
    code, answer = code_of(error), error.response.get("Error", {})
    bucket = where.split("/")[2]
    if error.operation_name.startswith("AssumeRole"):
        return f"the role cannot be taken ({code}: {answer.get('Message')}); mend AWS_ROLE_ARN, or whom it trusts"
    if code == "InvalidAccessKeyId":
        return f"the store knows no such access key ({code}); {_KEY}"
    if code == "SignatureDoesNotMatch":
        return f"the secret key is not that of the access key ({code}); {_KEY}"
    if code in _TOKEN:
        return f"the session token is expired or wrong ({code}); get new credentials and set AWS_SESSION_TOKEN"
    if code in _CLOCK:
        return f"this machine's clock is not the store's{_skew(error.response)} ({code}); set it right, by NTP"
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket!r}; make it, or mend ORCH_STORAGE"
    if code == "InvalidBucketName":
        return f"{bucket!r} is no name of a bucket; mend ORCH_STORAGE"
    if code in _REGION:
        return f"the bucket is of {_region(error.response)} ({code}); set AWS_REGION to its region"
    if code in ("AccessDenied", "AllAccessDisabled", "403"):
        needs = _NEEDS.get(method, "s3:PutObject")
        return f"the credentials do not allow this ({code}); grant {needs} on it"
    if code in ("NotImplemented", "501"):
        return f"the store does not know this kind of request ({method}: {code}); it needs conditional writes"
    return f"the store refuses {method} ({code}: {answer.get('Message', 'no message')}); see that it speaks S3"


def _not_sent(error: Exception) -> str:
    if isinstance(error, boto.NoCredentialsError):
        return (
            "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or give "
            "this machine a role"
        )
    if isinstance(error, boto.SSLError):
        return (
            f"no trusted connection to {endpoint()} ({_brief(error)}); mend AWS_ENDPOINT_URL (http or https), or "
            "name the authority's certificates by AWS_CA_BUNDLE"
        )
    if isinstance(error, ValueError) and "endpoint" in str(error).lower():
        return f"AWS_ENDPOINT_URL = {endpoint()!r} is no address; give http://HOST:PORT or https://HOST"
    return f"{_brief(error)}; mend AWS_* in the environment, the profile or ORCH_STORAGE"


def endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "AWS"


def scrubbed(text: str) -> str:
    """Without the secrets that the environment holds, should the store or a library have repeated one."""
    for name in SECRETS:
        secret = os.environ.get(name)
        if secret:
            text = text.replace(secret, "***")
    return text


def _brief(error: Exception) -> str:
    text = scrubbed(" ".join(str(error).split()))[:200]
    return text or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)


def _region(response: Mapping[str, Any]) -> str:
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region")
    return f"region {region}" if region else "another region"


def _skew(response: Mapping[str, Any]) -> str:
    """By how much, where the store says what time it has."""
    sent = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        seconds = time.time() - parsedate_to_datetime(str(sent)).timestamp()
    except ValueError:
        return ""
    return f" but {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} it"
