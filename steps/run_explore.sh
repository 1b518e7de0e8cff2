#!/usr/bin/env bash
# Explore a space of designs: search, train, measure, and write the front.
#
#   steps/run_explore.sh [options] <recipe-dir> <task-dir> <exp-dir>
#   e.g.: steps/run_explore.sh --jobs 2 recipes/explore_16x exp/task exp/explore_16x
#
#   --storage URL      a database that several machines share, postgresql+psycopg://user:password@host/name;
#                      the same command on each of them adds workers (the SQLite file <exp-dir>/explore.db)
#   --jobs J           workers on this machine (1)
#   --nj J             processes that decode side by side, of each worker (1)
#   --heartbeat S      seconds between signs of life of a worker; after twice as long without, it counts as dead and
#                      its trial is given to another (60)
#   --results DIR      where RESULTS.md, front/*.cfg and trials.yaml are written (the recipe's directory, which must
#                      then have no record of another task)
# Stopped at any moment, the same command goes on where it was.
set -euo pipefail

storage=
jobs=1
nj=1
heartbeat=60
results=

. "$(dirname "$0")/parse_options.sh"
[ $# -eq 3 ] || { fp_usage >&2; exit 1; }
recipe=${1%/} task=$2 exp=$3

[ -f "$recipe/space.yaml" ] || { echo "error: $0: $recipe/space.yaml: no such file" >&2; exit 1; }
for f in "$task/meta.yaml" "$task/graph/HCLG.fst"; do
  [ -f "$f" ] || { echo "error: $0: $f: no such file; stages 0 to 3 of run.sh make the task" >&2; exit 1; }
done

. "$(dirname "$0")/../path.sh"
options=(--task "$task" --jobs "$jobs" --nj "$nj" --heartbeat "$heartbeat")
[ -z "$storage" ] || options+=(--storage "$storage")
[ -z "$results" ] || options+=(--results "$results")
exec python -m frenchpress.explore "${options[@]}" "$recipe" "$exp"
