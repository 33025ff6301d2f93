#!/bin/sh
# Installs what `make chaos` asks of Debian: only what is absent, and only where we are root and have apt-get. Where it
# cannot, it says so and the tests that need it skip; SERVICES=required makes that an error.
set -u
missing=""
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="postgresql"
command -v ip >/dev/null || missing="$missing iproute2"
test -n "$missing" || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || true # one source that is away need not be the one
    # shellcheck disable=SC2086
    apt-get install -qq -y --no-install-recommends $missing >/dev/null && exit 0
    why="apt-get could not install it"
else
    why="only root with apt-get can install it"
fi
echo "not here, and $why: $missing" >&2
test "${SERVICES:-}" != required
