#!/usr/bin/env bash
# Speech to try at once: makes a tiny synthetic corpus, trains a tiny model, packs it, recognises three files.
#
#   steps/demo.sh [options] <data-dir> <exp-dir>
#   e.g.: steps/demo.sh --nj 2 data/demo exp/demo
#
#   --nj J   processes side by side (1)
# Prints the phones of three test utterances with their times, and draws them under spectrograms (with matplotlib).
set -euo pipefail

nj=1

. "$(dirname "$0")/parse_options.sh"
[ $# -eq 2 ] || { fp_usage >&2; exit 1; }
data=$1 exp=$2
model=$exp/tiny/model.press

"$(dirname "$0")/../run.sh" --stop-stage 5 --synth-size tiny --conf conf/tiny.cfg --nj "$nj" --data "$data" --exp "$exp"
. "$(dirname "$0")/../path.sh"
echo "$(date +%H:%M:%S)  the model as integers in one file"
frenchpress pack "$exp/tiny"
echo "$(date +%H:%M:%S)  three test utterances through it: file, start and end in seconds, phone"
mapfile -t files < <(awk 'NR <= 3 { print $2 }' "$data/test/wav.scp")
frenchpress picture --out "$exp/pictures" "$model" "${files[@]#"$PWD"/}"
cat <<EOF

The tiny model learnt from three minutes of speech: about half of its phones are wrong. ./run.sh trains better ones.
Your own audio, 16 kHz, one channel:  . ./path.sh; frenchpress recognise $model a.wav
EOF
