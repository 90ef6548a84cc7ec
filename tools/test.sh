#!/usr/bin/env bash
# What a reviewer runs: lint, then the tests from the quick to the slow. Stops at the first level that fails.
set -euo pipefail
cd "$(dirname "$0")/.."

started=$SECONDS
say() { printf '\n== %s (%d min %02d s)\n' "$1" $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60)); }

say "set-up"
tools/setup.sh
tools/apt-install.sh shellcheck

say "lint: ruff, mypy --strict, cfn-lint, checkov, shellcheck"
tools/lint.sh

for level in unit contract browser workflow rehearsal; do
  say "$level tests"
  run=(.venv/bin/python -m pytest -p no:cacheprovider "tests/$level")
  if [ $level = rehearsal ] && [ "$(id -u)" != 0 ]; then
    echo "the servers of the rehearsal need root: sudo"
    run=(sudo "${run[@]}")
  fi
  "${run[@]}"
done

say "everything passed"
