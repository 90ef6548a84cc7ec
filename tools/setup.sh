#!/usr/bin/env bash
# Brings .venv to what requirements-dev.txt and constraints.txt say. Quick when nothing changed: the
# stamp holds the hash of both files.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
uv_version=0.13.9

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
  echo "setup: needs Python 3.11 or later as '$python' (set PYTHON=…)" >&2
  exit 1
}

wanted=$(cat requirements-dev.txt constraints.txt "$0" | sha256sum | cut -d' ' -f1)
[ "$(cat $venv/.stamp 2>/dev/null)" = "$wanted" ] && exit 0

started=$SECONDS
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else echo "setup: sudo $*" >&2; sudo "$@"; fi; }

if ! [ -x $venv/bin/python ]; then
  "$python" -c 'import ensurepip, venv' 2>/dev/null || {
    echo "setup: installing Debian's python3-venv"
    as_root apt-get -q -o Acquire::Retries=5 update
    as_root apt-get -q -o Acquire::Retries=5 install -y --no-install-recommends python3-venv
  }
  echo "setup: creating $venv"
  "$python" -m venv $venv
fi

echo "setup: installing the pinned packages into $venv"
$venv/bin/python -m pip install -q --disable-pip-version-check --retries 5 "uv==$uv_version"
attempt=1
until UV_HTTP_TIMEOUT=120 $venv/bin/uv pip install -q --python $venv/bin/python \
  -r requirements-dev.txt -c constraints.txt; do
  [ $attempt -lt 3 ] || exit 1
  attempt=$((attempt + 1))
  echo "setup: trying again ($attempt of 3)" >&2
  sleep 3
done
echo "$wanted" > $venv/.stamp
echo "setup: ready after $((SECONDS - started)) s"
