#!/bin/sh
# Installs what `make chaos` asks of Debian: only what is absent, and only where we are root and have apt-get. Where it
# cannot, it says so and the tests that need it skip; SERVICES=required makes that an error. kubectl is in no release of
# Debian that is new enough; where it is absent, what needs it skips.
set -u
missing=""
has() { command -v "$1" >/dev/null; }
has initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="postgresql"
has ip || missing="$missing iproute2"
has prometheus || missing="$missing prometheus"
for tool in buildah crun debootstrap; do
    has "$tool" || missing="$missing $tool"
done
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
