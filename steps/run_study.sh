#!/usr/bin/env bash
# Run a study: train and decode its experiments, and write its table and figures after each.
#
#   steps/run_study.sh [options] <recipe-dir> <task-dir> <exp-dir>
#   e.g.: steps/run_study.sh --seeds "1 2 3" recipes/bits exp/task exp/bits
#
#   --seeds "S T"      seeds of every experiment (those of the study)
#   --only "A B*"      run these experiments alone, names or patterns (all)
#   --epochs N         short for --set train.epochs=N
#   --set "K=V K=V"    keys of every configuration to override; the table says so
#   --jobs J           experiments side by side (1). On one machine, J with one thread each (train.threads: 1, as the
#                      studies here say) get more done than one with J threads, which wait for each other at each step
#   --nj J             processes that decode side by side (1)
#   --results DIR      where RESULTS.md, figures and the records of runs are written (the recipe's directory, which
#                      must then have no records of another task)
#   --chip FILE        chips/x.yaml: models are packed, and the table says what a frame costs on this chip
# Writes <exp-dir>/<experiment>-seed<N>, <exp-dir>/conf, <exp-dir>/log and <exp-dir>/report/index.html. An experiment that fails does not stop the
# rest: it is listed at the end, and the exit status is 1. Stopped at any moment, the same command goes on where it was.
# A run that DIR/runs has the record of is not made again, unless another one starts or learns from its model.
set -euo pipefail

seeds=
only=
epochs=
set=
jobs=1
nj=1
results=
chip=

. "$(dirname "$0")/parse_options.sh"
[ $# -eq 3 ] || { fp_usage >&2; exit 1; }
recipe=${1%/} task=$2 exp=$3

[ -f "$recipe/study.yaml" ] || { echo "error: $0: $recipe/study.yaml: no such file" >&2; exit 1; }
[[ $nj =~ ^[1-9][0-9]*$ ]] || { echo "error: $0: --nj is '$nj', expected a number of processes" >&2; exit 1; }
[[ $jobs =~ ^[1-9][0-9]*$ ]] || { echo "error: $0: --jobs is '$jobs', expected a number of experiments" >&2; exit 1; }
for f in "$task/meta.yaml" "$task/graph/HCLG.fst"; do
  [ -f "$f" ] || { echo "error: $0: $f: no such file; stages 0 to 3 of run.sh make the task" >&2; exit 1; }
done
[ -z "$epochs" ] || set="$set train.epochs=$epochs"

. "$(dirname "$0")/../path.sh"
steps=$(dirname "$0")
. "$steps/../cmd.sh"
. "$steps/lock.sh"
fp_lock "$exp"
mkdir -p "$exp/log"

options=()
read -ra pairs <<< "$set"
for pair in "${pairs[@]}"; do options+=(--set "$pair"); done
[ -z "$results" ] || options+=(--results "$results")
[ -z "$chip" ] || python -m frenchpress.hardware --chip "$chip" > /dev/null
plan=$(python -m frenchpress.report.study_plan --task "$task" --seeds "$seeds" --only "$only" "${options[@]}" \
  "$recipe" "$exp")
mapfile -t runs < <(printf '%s' "$plan")

# Each run in the background and waited for, so that a signal stops it at once and not hours later. In the shell of a run
# `child` is the program that it waits for; `running` are the runs under way, by process.
child=
declare -A running=()
stop() {
  trap '' INT TERM HUP
  [ -z "$child${!running[*]}" ] || kill $child "${!running[@]}" 2>/dev/null || true
  wait
  [ "$BASH_SUBSHELL" -gt 0 ] || echo "$0: stopped: the same command goes on from here" >&2
  exit 130
}
trap stop INT TERM HUP
attend() {
  local log=$exp/log/$1.log status=0; shift
  "$@" >> "$log" 2>&1 & child=$!
  wait "$child" || status=$?
  child=
  return "$status"
}
attempt() {
  local by=()
  [ "${#train_cmd[@]}" = 0 ] || by=("${train_cmd[@]}" "$exp/log/$1.train.log")
  attend "$1" "${by[@]}" python -m frenchpress.nnet.train --config "$exp/conf/$1.cfg" --task "$task" "$exp/$1" &&
    attend "$1" "$steps/decode.sh" --nj "$nj" "$task" "$exp/$1" || return
  # What cannot be packed, such as a model of floats, says why in its log; the table goes on without it.
  [ -z "$chip" ] || attend "$1" python -m frenchpress.export.pack --task "$task" "$exp/$1" || true
}
table() {
  attend table python -m frenchpress.report.study_results --out "${results:-$recipe}" ${chip:+--chip "$chip"} \
    "$recipe" "$exp"
}

failed=()
number=0
start() {
  number=$((number + 1))
  printf '%s  %d of %d: %s\n' "$(date +%H:%M:%S)" "$number" "${#runs[@]}" "$1"
  ( running=(); trap stop INT TERM HUP; attempt "$1" ) & running[$!]=$1
}
# Wait for one of the runs under way to end; say how, and write the table.
finish() {
  local pid run status=0
  wait -n -p pid "${!running[@]}" || status=$?
  run=${running[$pid]}
  unset "running[$pid]"
  [ "$jobs" = 1 ] || echo "    $run:"
  if [ "$status" = 0 ]; then
    rm -f "$exp/log/$run.failed"
    sed 's/^/    /' "$exp/$run"/[PW]ER
  else
    { grep . "$exp/log/$run.log" || echo "no output"; } | tail -n 1 > "$exp/log/$run.failed"
    failed+=("$run: $(cat "$exp/log/$run.failed")")
    echo "    ${failed[-1]}" >&2
  fi
  table || failed+=("the table after $run")
}
# Start the first of the runs left that waits for none under way or before it; false where there is none. A line of the
# plan is a run, and those that it starts or learns from, which must have ended.
left=("${runs[@]}")
start_one() {
  local i need ready names before=" ${running[*]} "
  for i in "${!left[@]}"; do
    read -ra names <<< "${left[i]}"
    ready=true
    for need in "${names[@]:1}"; do [[ $before != *" $need "* ]] || ready=false; done
    if "$ready"; then
      unset "left[$i]"
      start "${names[0]}"
      return
    fi
    before+="${names[0]} "
  done
  return 1
}
while [ "${#left[@]}" -gt 0 ] || [ "${#running[@]}" -gt 0 ]; do
  [ "${#running[@]}" -lt "$jobs" ] && [ "${#left[@]}" -gt 0 ] && start_one || finish
done
[ "${#runs[@]}" -gt 0 ] || table || failed+=("the table")

echo "${results:-$recipe}/RESULTS.md"
echo "$exp/report/index.html: the same to sort, filter and look at"
if [ "${#failed[@]}" -gt 0 ]; then
  echo "error: $0: ${#failed[@]} failed of ${#runs[@]} runs; what they said is in $exp/log" >&2
  printf '  %s\n' "${failed[@]}" >&2
  exit 1
fi
