#!/bin/bash
# The tracking server of a cluster, in two steps: `prepare` brings the tables of ORCH_MLFLOW_DATABASE up to this
# version and makes the users, `serve` serves them. Passwords come by the environment and stay there: none is an
# argument or lies in a file, and the database's address holds none, since libpq reads PGPASSWORD.
#
# prepare: MLFLOW_AUTH_ADMIN_PASSWORD, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD, each password of at least
# 12 characters; one that has changed since replaces the old. serve: MLFLOW_FLASK_SERVER_SECRET_KEY,
# MLFLOW_SERVER_ALLOWED_HOSTS, ORCH_STORAGE, and what reaches it (AWS_*).
set -euo pipefail

fail() {
  echo "orch-mlflow: $1" >&2
  exit 2
}

need() {
  local name
  for name in "$@"; do
    [[ -n "${!name:-}" ]] || fail "$name is not set; infra/base/tracking/mlflow.yaml names the Secret that holds it"
  done
}

need ORCH_MLFLOW_DATABASE
[[ "$ORCH_MLFLOW_DATABASE" != *:*:*@* ]] ||
  fail "ORCH_MLFLOW_DATABASE holds a password; leave it out there and give it by PGPASSWORD"

umask 077
export MLFLOW_AUTH_CONFIG_PATH="${TMPDIR:-/tmp}/mlflow-auth.ini"
# Whoever has a login may read what others have made, and change what is theirs. A password costs a tenth of a second
# to check, as it must, and a sweep asks hundreds of times a minute: one that was right is remembered for a minute.
cat >"$MLFLOW_AUTH_CONFIG_PATH" <<INI
[mlflow]
default_permission = READ
database_uri = ${ORCH_MLFLOW_DATABASE//%/%%}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
INI
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false

case "${1:-}" in
prepare)
  need MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_PASSWORD
  [[ "$MLFLOW_TRACKING_USERNAME" != admin ]] ||
    fail "MLFLOW_TRACKING_USERNAME is admin; sweeps log in as an ordinary user, such as orch"
  for name in MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_TRACKING_PASSWORD; do
    word="${!name}"
    ((${#word} >= 12)) || fail "$name is shorter than the 12 characters that MLflow asks for"
  done
  mlflow db upgrade "$ORCH_MLFLOW_DATABASE"
  exec python - <<'PYTHON'
import os

from mlflow.server.auth.config import read_auth_config
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

store = SqlAlchemyStore()
store.init_db(read_auth_config().database_uri)
for name, password, admin in (
    ("admin", os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"], True),
    (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"], False),
):
    if not store.has_user(name):
        store.create_user(name, password, is_admin=admin)
        print(f"made the user {name}")
    elif not store.authenticate_user(name, password):
        store.update_user(name, password=password)
        print(f"changed the password of {name}")
PYTHON
  ;;
serve)
  need MLFLOW_FLASK_SERVER_SECRET_KEY MLFLOW_SERVER_ALLOWED_HOSTS ORCH_STORAGE
  exec mlflow server \
    --app-name basic-auth \
    --backend-store-uri "$ORCH_MLFLOW_DATABASE" \
    --serve-artifacts \
    --artifacts-destination "${ORCH_STORAGE%/}/mlflow-artifacts" \
    --allowed-hosts "$MLFLOW_SERVER_ALLOWED_HOSTS" \
    --host 0.0.0.0 \
    --port "${ORCH_MLFLOW_PORT:-5000}" \
    --workers "${ORCH_MLFLOW_WORKERS:-2}" \
    --uvicorn-opts "--timeout-graceful-shutdown 20"
  ;;
*)
  fail "usage: orch-mlflow prepare|serve"
  ;;
esac
