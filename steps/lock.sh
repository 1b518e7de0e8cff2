# Sourced: `fp_lock DIR` makes DIR this script's own to write in until it ends, or ends it with an error.
# `fp_lock DIR SECONDS -s` shares it with others that share it: with runs that write other files than this one.
# `fp_share` lets others in from here on.
#
# All that the script starts shares the lock (file descriptor 9): what an interrupted run left behind may still write.
# Killed processes need a moment to go, so the next run waits for them, up to ten seconds (or the second argument).
fp_lock() {
  mkdir -p "$1"
  exec 9> "$1/.run.lock"
  flock -n ${3:-} 9 && return
  echo "$0: $1: another run is writing here; waiting up to ${2:-10} s for it to end" >&2
  flock ${3:-} -w "${2:-10}" 9 && return
  echo "error: $0: $1: another run is writing here; wait for it, or use another directory" >&2
  exit 1
}
fp_share() { flock -s 9; }
