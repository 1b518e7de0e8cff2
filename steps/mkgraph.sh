#!/usr/bin/env bash
# Decoding graph HCLG.fst of a trained model with the grammar of a lang directory.
#
#   steps/mkgraph.sh LANG MODEL GRAPH        e.g. steps/mkgraph.sh data/lang exp/tri3 exp/tri3/graph
#
# MODEL holds final.mdl and tree. GRAPH gets HCLG.fst (input labels are transition-ids), words.txt and phones.txt.
# Done already for these inputs, it says so and does nothing.
#
#   --transition-scale X   of the log-probabilities of moving between HMM states (1.0)
#   --self-loop-scale X    of staying in one or leaving it (0.1)
set -euo pipefail

transition_scale=1.0
self_loop_scale=0.1

. steps/parse_options.sh
[ $# -eq 3 ] || { echo "error: $0: expected LANG MODEL GRAPH; --help shows how to call it" >&2; exit 1; }
lang=$1
model=$2
graph=$3
. ./path.sh

for f in "$lang/L_disambig.fst" "$lang/G.fst" "$model/final.mdl" "$model/tree"; do
  [ -f "$f" ] || { echo "error: $0: $f: no such file; it needs a lang directory and a trained model" >&2; exit 1; }
done

python -m frenchpress.graph.mkgraph --transition-scale "$transition_scale" --self-loop-scale "$self_loop_scale" \
  --lang "$lang" --model "$model" --out "$graph"
