#!/usr/bin/env bash
# ruff, mypy --strict, cfn-lint, checkov and shellcheck over the repository; goes through all of them before it fails.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

bin=.venv/bin
failed=()

check() { # NAME COMMAND…
  local name=$1 started=$SECONDS
  shift
  if "$@"; then
    echo "lint: $name: ok ($((SECONDS - started)) s)"
  else
    echo "lint: $name: FAILED" >&2
    failed+=("$name")
  fi
}

existing() { # those of the given paths that exist
  local path
  for path in "$@"; do
    if [ -e "$path" ]; then printf '%s\n' "$path"; fi
  done
}

with_python() { # those of the given folders that hold Python
  local folder
  for folder in "$@"; do
    if [ -n "$(find "$folder" -name '*.py' -print -quit 2>/dev/null)" ]; then printf '%s\n' "$folder"; fi
  done
}

command -v shellcheck >/dev/null || bash tools/apt-install.sh shellcheck || exit 1

mapfile -t python < <(with_python functions rehearsal tests tools bench)
mapfile -t templates < <(existing template.yaml tiers/*.yaml)
mapfile -t tracked < <(git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run)
mapfile -t scripts < <(existing "${tracked[@]}")

check "ruff" $bin/ruff check -q "${python[@]}"
check "ruff format" $bin/ruff format -q --check "${python[@]}"
check "mypy --strict" $bin/mypy --no-error-summary "${python[@]}"
[ ${#templates[@]} -eq 0 ] || check "cfn-lint" $bin/cfn-lint "${templates[@]}"
[ ${#templates[@]} -eq 0 ] || check "checkov" tools/checkov/run.sh "${templates[@]}"
[ ${#scripts[@]} -eq 0 ] || check "shellcheck" shellcheck "${scripts[@]}"

if [ ${#failed[@]} -gt 0 ]; then
  echo "lint: failed: ${failed[*]}" >&2
  exit 1
fi
