#!/usr/bin/env bash
# Decode dev and test with a GMM system and score them; the LM weight is chosen on dev.
#
#   steps/decode_gmm.sh [options] <data> <lang> <exp-dir>
#   e.g.: steps/decode_gmm.sh --nj 4 data data/lang exp/tri3
#
#   --nj J             processes side by side (1)
#   --graph DIR        decoding graph (<exp-dir>/graph)
# Writes <exp-dir>/PER and decode_{dev,test}; for a speaker-adapted system trans_{dev,test}, the fMLLR of its speakers.
set -euo pipefail

nj=1
graph=

. "$(dirname "$0")/parse_options.sh"
[ $# -eq 3 ] || { fp_usage >&2; exit 1; }
data=$1 lang=$2 exp=$3
: "${graph:=$exp/graph}"

for f in "$data/dev/feats.scp" "$data/test/feats.scp" "$exp/final.mdl" "$graph/HCLG.fst"; do
  [ -f "$f" ] || { echo "error: $0: $f: no such file" >&2; exit 1; }
done

. "$(dirname "$0")/../path.sh"
python -m frenchpress.gmm.decode --nj "$nj" --graph "$graph" "$data" "$lang" "$exp"
