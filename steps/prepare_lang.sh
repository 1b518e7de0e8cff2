#!/usr/bin/env bash
# Lang directory from data/dict and the training text: tables, topology, L.fst, and the bigram G.fst with its lm.arpa.
#
#   steps/prepare_lang.sh DATA        e.g. steps/prepare_lang.sh data
#
# DATA/dict and DATA/train/text make DATA/lang. Done already for these inputs, it says so and does nothing.
#
#   --dict DIR          phone lists, sil_prob, score_map.txt (DATA/dict)
#   --text FILE         transcripts in phones that the bigram is estimated on (DATA/train/text)
set -euo pipefail

dict=
text=

. steps/parse_options.sh
[ $# -eq 1 ] || { echo "error: $0: expected DATA; --help shows how to call it" >&2; exit 1; }
data=$1
: "${dict:=$data/dict}" "${text:=$data/train/text}"
. ./path.sh

for f in "$dict/nonsilence_phones.txt" "$text"; do
  [ -f "$f" ] || { echo "error: $0: $f: no such file; run stage 0 first" >&2; exit 1; }
done

python -m frenchpress.graph.lang "$dict" "$text" "$data/lang"
