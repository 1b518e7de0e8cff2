#!/usr/bin/env bash
# Sets up (once) and runs the linter and all tests; arguments go to pytest, e.g. ./test.sh -m "not slow".
set -euo pipefail
cd "$(dirname "$0")"
. ./path.sh
# The ONNX tests need packages that nothing else does; without them they are skipped.
python -c 'import onnx, onnxruntime' 2>/dev/null || pip install -q -e '.[export]' ||
  echo "test.sh: onnx and onnxruntime cannot be installed; their tests are skipped" >&2
ruff check .
exec python -m pytest "$@"
