"""What may be wrong with an MLflow store: which errors are worth another try, and how each is told to a user.

No text that leaves here holds a credential, be it of an address or of the environment.
"""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import unquote, urlsplit

SECRETS = (
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
"""Variables whose values are shown nowhere."""
_PERMANENT = {
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
}
_REFUSED = {400, 405, 409, 411, 413, 414, 415, 422}
"""What a server answers to an upload that it will never take."""
_USER = re.compile(r"://[^/\s'\"]*@")
_STATUS = re.compile(
    r"failed with error code (\d{3})|too many (\d{3}) error responses|(\d{3}) (?:Client|Server) Error"
)


def permanent(error: Exception) -> bool:
    """Whether sending the same again must fail again; all else may be the outage of a server."""
    code = getattr(error, "error_code", None)
    if code is not None:
        return str(code) in _PERMANENT
    if isinstance(error, OSError):
        answer = getattr(getattr(error, "response", None), "status_code", None)
        return isinstance(error, FileNotFoundError) or answer in _REFUSED
    return isinstance(error, (LookupError, TypeError, ValueError, AttributeError, ImportError))


def lasting(error: BaseException) -> bool:
    """Whether only a person can mend it: a name that is refused, a login, an address of something else."""
    return _status(error) in (401, 403, 404) or isinstance(error, ImportError)


def timed_out(error: BaseException) -> bool:
    """Whether the store took longer than a request may take."""
    return any("timeout" in type(one).__name__.lower() for one in _causes(error))


def told(error: BaseException, uri: str) -> str:
    """What is wrong with the store at `uri`, and the way out where it is known; follows "MLflow at <uri>: "."""
    text, status = " ".join(str(one) for one in _causes(error)), _status(error)
    if status == 403 and "host header" in text.lower():
        host = urlsplit(uri).netloc.rpartition("@")[2]
        return (
            f"the server refuses the host name {host!r}; start it with that name among --allowed-hosts, or in its "
            "variable MLFLOW_SERVER_ALLOWED_HOSTS"
        )
    if status == 401:
        given = any(os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("PASSWORD", "TOKEN"))
        what = "the login is refused; mend" if given else "the server asks for a login; set"
        return f"{what} MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    if status == 403:
        return (
            f"the login has no right to do this ({brief(error)}); give it that right, or set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to one that has it"
        )
    if status == 404 and "<html" in text.lower():
        return "what answers there is no MLflow server; mend MLFLOW_TRACKING_URI"
    if status is not None and status >= 500:
        return f"the server answers {status}"
    return _unreached(error, text) or brief(error)


def brief(error: BaseException) -> str:
    """The first line of an error, short enough for a terminal."""
    text = scrubbed(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."


def scrubbed(text: str) -> str:
    """Without the user and password of any address in it, and without the secrets of the environment."""
    found = _USER.sub("://", text)
    given = [os.environ.get(name, "") for name in SECRETS]
    password = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", "")).password or ""
    for secret in (*given, password, unquote(password)):
        if len(secret) >= 4:
            found = found.replace(secret, "***")
    return found


def _unreached(error: BaseException, text: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in text or "SSLError" in text:
        return "its certificate is not trusted; name its authority in MLFLOW_TRACKING_SERVER_CERT_PATH"
    if "Failed to resolve" in text or "Name or service not known" in text or "nodename nor servname" in text:
        return "there is no host of that name; mend MLFLOW_TRACKING_URI"
    if "Connection refused" in text:
        return "nothing listens there"
    return "no answer in time" if timed_out(error) else ""


def _status(error: BaseException) -> int | None:
    """The HTTP status that the server answered with."""
    for one in _causes(error):
        answer: Any = getattr(getattr(one, "response", None), "status_code", None)
        if answer is not None:
            return int(answer)
        found = _STATUS.search(str(one))
        if found:
            return int(next(group for group in found.groups() if group))
        code = getattr(one, "error_code", None)
        known = {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "TEMPORARILY_UNAVAILABLE": 503}
        if code in known:
            return known[code]
    return None


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what it was raised from, MLflow's own first."""
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in found:
        found.append(one)
        one = one.__cause__ or one.__context__
    return found
