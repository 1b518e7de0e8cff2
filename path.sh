# Sourced by every script from the repository root: makes .venv once, installs the project into it, activates it.
# FRENCHPRESS_PYTHON picks the interpreter (3.10 or newer).
export LC_ALL=C.UTF-8 PYTHONUNBUFFERED=1

fp_root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fp_find_python() {
  local p
  for p in ${FRENCHPRESS_PYTHON:-} python3 python3.13 python3.12 python3.11 python3.10; do
    if command -v "$p" >/dev/null && "$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
    then echo "$p"; return 0; fi
  done
  echo "error: no Python 3.10 or newer with its venv module found (Debian, Ubuntu: apt install python3-venv)" >&2
  return 1
}

fp_installed() {
  [ "$(cat "$fp_root/.venv/.installed" 2>/dev/null)" = "$1" ]
}

fp_install() {
  local venv=$fp_root/.venv python
  python=$(fp_find_python) || return 1
  echo "path.sh: setting up $venv (once, a few minutes)" >&2
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || return 1
  # One known build first, so that the range in setup.py does not pull a newer one.
  "$venv/bin/python" -c 'import torch' 2>/dev/null || "$venv/bin/pip" install -q torch==2.13.0 || return 1
  # By a path, so that a folder of the same name where Python is started (the clone's) is not taken for the package.
  "$venv/bin/pip" install -q --config-settings editable_mode=compat -e "$fp_root[synth,test,plot]" || return 1
  echo "$1" > "$venv/.installed"
}

fp_setup() {
  local stamp
  stamp=$(cat "$fp_root"/setup.py "$fp_root"/frenchpress/*/native/*.[ch] | sha256sum | cut -d' ' -f1)
  if ! fp_installed "$stamp"; then
    # Two shells that install at once spoil each other's files.
    (
      if command -v flock >/dev/null && ! flock -n 9; then
        echo "path.sh: another shell sets up $fp_root/.venv; waiting for it" >&2
        flock 9
      fi
      fp_installed "$stamp" || fp_install "$stamp"
    ) 9> "$fp_root/.venv.lock" || return 1
  fi
  . "$fp_root/.venv/bin/activate"
}
# `return`, so that a failure does not close an interactive shell; `exit` where it is run and not sourced.
fp_setup || return 1 2>/dev/null || exit 1
