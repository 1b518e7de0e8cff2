#!/usr/bin/env bash
# The training set as it is and at other speeds, with MFCC and per-speaker CMVN statistics.
#
#   steps/perturb_speed.sh [options] <train-data> <data-dir>
#   e.g.: steps/perturb_speed.sh --nj 4 --speeds "0.9 1.1" data/train data/train_sp
#
#   --speeds "A B"     beside 1, from 0.5 to 2 (0.9 1.1)
#   --nj J             processes side by side (1)
#   --config FILE      options of MFCC in Kaldi's syntax (conf/mfcc.conf)
#   --allow-pipes      run wav.scp entries that are shell pipes
# Utterances and speakers at speed 0.9 are called sp0.9-<name>, as Kaldi's utils/perturb_data_dir_speed.sh has it.
set -euo pipefail

speeds="0.9 1.1"
nj=1
config=conf/mfcc.conf
allow_pipes=false

. "$(dirname "$0")/parse_options.sh"
[ $# -eq 2 ] || { fp_usage >&2; exit 1; }
train=$1 out=$2

[ -f "$train/wav.scp" ] || { echo "error: $0: $train/wav.scp: no such file" >&2; exit 1; }

. "$(dirname "$0")/../path.sh"
pipes=(); [ "$allow_pipes" = false ] || pipes=(--allow-pipes)
python -m frenchpress.kaldi.perturb_speed --speeds "$speeds" "${pipes[@]}" "$train" "$out"
"$(dirname "$0")/make_mfcc.sh" --nj "$nj" --config "$config" --allow-pipes "$allow_pipes" "$out"
