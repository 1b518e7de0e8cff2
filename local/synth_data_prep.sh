#!/usr/bin/env bash
# A synthetic corpus like TIMIT, spoken by espeak-ng, to Kaldi data directories. Needs no corpus.
#
#   local/synth_data_prep.sh [options] <data-dir>
#   e.g.: local/synth_data_prep.sh --size small --nj 2 data
#
# Writes the corpus itself, in TIMIT's layout, to <data-dir>/synth (unless --corpus says otherwise), and
# <data-dir>/{train,dev,test} and <data-dir>/dict with the reader that also reads TIMIT.
# Stopped at any moment, the same command goes on where it was.
#
#   --size SIZE      tiny (64/16/16 utterances), small (384/64/96, 20 minutes to train on), or timit (3696/400/192)
#   --nj J           processes side by side (1)
#   --seed S         another seed, another corpus (0)
#   --corpus DIR     where the corpus is written (<data-dir>/synth)
#
# espeak-ng is used as it comes in PyPI's espeakng-loader, an optional dependency of ours at run time. It is
# licensed under the GPL, version 3 or later; nothing of it, and nothing made with it, is part of this project.
set -euo pipefail

size=small
nj=1
seed=0
corpus=

. "$(dirname "$0")/../steps/parse_options.sh"
[ $# -eq 1 ] || { fp_usage >&2; exit 1; }
data=$1
: "${corpus:=$data/synth}"

case $size in
  tiny|small|timit) ;;
  *) echo "error: $0: --size is '$size', expected tiny, small or timit" >&2; exit 1 ;;
esac

. "$(dirname "$0")/../path.sh"
python -m timit.synth --out "$corpus" --size "$size" --nj "$nj" --seed "$seed"
python -m timit.prepare --corpus-dir "$corpus" --out "$data"
