#!/usr/bin/env bash
# checkov on the given templates, by settings.yaml. Installs what requirements.txt beside it pins when that has changed.
set -euo pipefail
cd "$(dirname "$0")/../.."

here=tools/checkov
venv=.venv/checkov
wanted=$(sha256sum <$here/requirements.txt | cut -d' ' -f1)
if [ "$(cat $venv/.stamp 2>/dev/null)" != "$wanted" ]; then
  .venv/bin/uv venv -q --clear --python .venv/bin/python $venv
  attempt=1
  until UV_HTTP_TIMEOUT=120 .venv/bin/uv pip install -q --python $venv/bin/python -r $here/requirements.txt; do
    [ $attempt -lt 3 ] || exit 1
    attempt=$((attempt + 1))
    sleep 3
  done
  echo "$wanted" >$venv/.stamp
fi

exec $venv/bin/checkov --config-file $here/settings.yaml --file "$@"
