#!/usr/bin/env bash
# Sets up (once) and runs the linter and all tests; arguments go to pytest, e.g. ./test.sh -m "not slow".
set -euo pipefail
cd "$(dirname "$0")"
. ./path.sh
ruff check .
exec python -m pytest "$@"
