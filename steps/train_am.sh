#!/usr/bin/env bash
# Train the acoustic model of a .cfg on a task (features, tied-state and phone targets).
#
#   steps/train_am.sh conf/w8a16.cfg exp/task exp/w8a16
#   steps/train_am.sh --seed 7 --set "train.epochs=2 train.batch=16" conf/w8a16.cfg exp/task exp/w8a16_try
#
# Leaves final.pt, config.yaml, train.log, metrics.jsonl, size.yaml and train.yaml in the last directory. Stopped at any
# moment, the same command goes on where it was and ends with the same final.pt.
#
#   --seed N            seed of initialisation, masks and order (default: that of the .cfg)
#   --set "K=V K=V"     keys of the .cfg to override
#   --workers N         processes that train together, each on its share of every batch (docs/machines.md; those of the .cfg)
#   --restart           throw away an earlier run in the directory
#   --checkpoint-seconds S   time between checkpoints (30)
set -euo pipefail

# Defaults.
seed=default
set=
workers=
restart=false
checkpoint_seconds=30

. "$(dirname "$0")/parse_options.sh"
if [ $# -ne 3 ]; then
  echo "error: usage: $0 [options] <config> <task-dir> <exp-dir>, e.g. $0 conf/w8a16.cfg exp/task exp/w8a16" >&2
  exit 1
fi
config=$1; task=$2; out=$3

# Checks.
[ -f "$config" ] || { echo "error: $0: $config: no such file" >&2; exit 1; }
[ -f "$task/meta.yaml" ] || { echo "error: $0: $task is no task (no meta.yaml); stages 0 to 3 of run.sh make one" >&2; exit 1; }

# Work.
options=(--checkpoint-seconds "$checkpoint_seconds")
[ "$seed" = default ] || options+=(--seed "$seed")
[ -z "$workers" ] || options+=(--workers "$workers")
[ "$restart" = false ] || options+=(--restart)
read -ra pairs <<< "$set"
for pair in "${pairs[@]}"; do options+=(--set "$pair"); done
. "$(dirname "$0")/../path.sh"
exec python -m frenchpress.nnet.train --config "$config" --task "$task" "${options[@]}" "$out"
