#!/usr/bin/env bash
# Sets up (once) and runs the linter and all tests; arguments go to pytest, e.g. ./test.sh -m "not slow".
# Tests of one file run one after another, files side by side, on four cores at most; `-n 0` undoes that.
set -euo pipefail
cd "$(dirname "$0")"
. ./path.sh
# What tests alone need, and can do without: those of ONNX and of explorations are skipped, files run one after another.
python -c 'import onnx, onnxruntime' 2>/dev/null || pip install -q --config-settings editable_mode=compat -e '.[export]' ||
  echo "test.sh: onnx and onnxruntime cannot be installed; their tests are skipped" >&2
python -c 'import optuna' 2>/dev/null || pip install -q --config-settings editable_mode=compat -e '.[explore]' ||
  echo "test.sh: optuna cannot be installed; its tests are skipped" >&2
new_xdist='from importlib.metadata import version as v; exit([*map(int, v("pytest-xdist").split(".")[:2])] < [3, 7])'
python -c "$new_xdist" 2>/dev/null || pip install -q --config-settings editable_mode=compat -e '.[parallel]' ||
  echo "test.sh: pytest-xdist cannot be installed; tests run one after another" >&2
ruff check .
side_by_side=()
if python -c "$new_xdist" 2>/dev/null; then
  side_by_side=(-n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder)
  export OMP_NUM_THREADS=1   # threads of several processes on the same cores would wait for each other
fi
exec python -m pytest "${side_by_side[@]}" "$@"
