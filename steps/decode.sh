#!/usr/bin/env bash
# Decodes dev and test with a trained model, chooses the weights on dev, scores.
#
#   steps/decode.sh [options] <task-dir> <exp-dir>
#   e.g.: steps/decode.sh --nj 4 exp/task exp/lstm512
#
#   --nj J          processes that search side by side (1)
#   --config FILE   decode as the `decode:` of this .cfg says now (as it said when the model was trained)
# Writes <exp-dir>/decode_{dev,test}/{hyp.txt,hyp.mapped,ref,per_speaker,per_phone,per_utt,stats.yaml} and <exp-dir>/PER;
# of words: per_word and WER.
set -euo pipefail

nj=1
config=

. "$(dirname "$0")/parse_options.sh"
[ $# -eq 2 ] || { fp_usage >&2; exit 1; }
task=$1 out=$2

for f in "$task/meta.yaml" "$task/graph/HCLG.fst" "$out/final.pt"; do
  [ -f "$f" ] || { echo "error: $0: $f: no such file; run the stages before this one" >&2; exit 1; }
done

. "$(dirname "$0")/../path.sh"
options=(); [ -z "$config" ] || options=(--config "$config")
exec python -m frenchpress.nnet.decode --nj "$nj" --task "$task" "${options[@]}" "$out"
