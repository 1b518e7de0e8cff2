#!/usr/bin/env bash
# A corpus laid out in Kaldi's way to data directories and a dictionary; every audio file is checked.
#
#   local/kaldi_data_prep.sh [options] <corpus-dir> <data-dir>
#   e.g.: local/kaldi_data_prep.sh --nj 4 /corpora/mine data
#
#   --nj J           processes side by side (1)
#   --rate HZ        sampling rate that all audio must have (16000)
#   --allow-pipes    run wav.scp entries that are shell pipes
#   --silence "A B"  phones that are silence, in place of the usual names (sil, sp, pau, <sil>, ...)
#   --score-map FILE what phones are scored as, two columns; a phone alone is not scored (<corpus-dir>/phones.map)
# <corpus-dir>/{train,dev,test} hold wav.scp, utt2spk, perhaps segments, and either `phones` (| between words is dropped)
# or `text` with <corpus-dir>/lexicon.txt; docs/own_speech.md has examples. Writes <data-dir>/{train,dev,test} and <data-dir>/dict.
set -euo pipefail

nj=1
rate=16000
allow_pipes=false
silence=
score_map=

. "$(dirname "$0")/../steps/parse_options.sh"
[ $# -eq 2 ] || { fp_usage >&2; exit 1; }
corpus=$1 data=$2

[ -d "$corpus" ] || { echo "error: $0: $corpus: no such directory, expected train/, dev/ and test/ in it" >&2; exit 1; }

. "$(dirname "$0")/../path.sh"
options=(--silence "$silence")
[ "$allow_pipes" = false ] || options+=(--allow-pipes)
[ -z "$score_map" ] || options+=(--score-map "$score_map")
python -m frenchpress.kaldi.prepare --corpus-dir "$corpus" --out "$data" --nj "$nj" --rate "$rate" "${options[@]}"
