#!/usr/bin/env bash
# TIMIT (LDC93S1, as it comes) to Kaldi data directories.
#
#   local/timit_data_prep.sh [options] <corpus-dir> <data-dir>
#   e.g.: local/timit_data_prep.sh /corpora/LDC93S1/TIMIT data
#
# Names in upper or lower case, NIST SPHERE or RIFF audio; nothing is converted or copied.
# Writes <data-dir>/{train,dev,test} (3696, 400 and 192 utterances, 48 phones) and <data-dir>/dict.
set -euo pipefail

. "$(dirname "$0")/../steps/parse_options.sh"
[ $# -eq 2 ] || { fp_usage >&2; exit 1; }
corpus=$1 data=$2

[ -d "$corpus" ] || { echo "error: $0: $corpus: no such directory, expected TIMIT (TRAIN/ and TEST/ in it)" >&2; exit 1; }

. "$(dirname "$0")/../path.sh"
python -m timit.prepare --corpus-dir "$corpus" --out "$data"
