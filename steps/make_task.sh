#!/usr/bin/env bash
# What acoustic models are trained on and decoded with: fMLLR features, tied states and phones per frame, graph.
#
#   steps/make_task.sh [options] <data-dir> <exp-dir> [<out-dir>]
#   e.g.: steps/make_task.sh data exp
#         steps/make_task.sh --features lda data exp exp/lda
#         steps/make_task.sh --kaldi-s5 /kaldi/egs/timit/s5 data exp
#
#   --kaldi-s5 DIR           take it all from an existing Kaldi experiment (data-fmllr-tri3, exp/tri3_ali*, exp/tri3/graph)
#   --features KIND          fmllr, lda or fbank: those of <data-dir>/KIND-tri3 (fmllr)
#   --train NAME             name of the training set there and of its alignment (train)
#   --lang DIR               its lang directory (data/lang_test_bg)
#   --score-map FILE         what each phone is scored as, two columns; a phone alone is not scored. Not for words
#   --optional-tokens FILE   scored tokens whose omission is no error, one per line
#   --allow-pipes            run entries of feats.scp that are shell pipes
# Writes <out-dir>/task (<exp-dir>/task).
set -euo pipefail

kaldi_s5=
features=fmllr
train=train
lang=
score_map=
optional_tokens=
allow_pipes=false

. "$(dirname "$0")/parse_options.sh"
[ $# -eq 2 ] || [ $# -eq 3 ] || { fp_usage >&2; exit 1; }
data=$1 exp=$2 out=${3:-$2}

if [ -n "$kaldi_s5" ]; then
  [ -d "$kaldi_s5" ] || { echo "error: $0: --kaldi-s5: $kaldi_s5: no such directory" >&2; exit 1; }
  options=(--kaldi-s5 "$kaldi_s5")
else
  for f in "$data/$features-tri3/$train/feats.scp" "$exp/tri3_ali_$train/final.mdl" "$exp/tri3/graph/HCLG.fst"; do
    [ -f "$f" ] || { echo "error: $0: $f: no such file; run the stages before this one" >&2; exit 1; }
  done
  options=(--features "$features" --feats "$data/$features-tri3" --train "$train")
  options+=(--ali-prefix "$exp/tri3_ali" --graph "$exp/tri3/graph")
  lang=${lang:-$data/lang}
fi
[ "$allow_pipes" = false ] || options+=(--allow-pipes)
[ -z "$lang" ] || options+=(--lang "$lang")
[ -z "$score_map" ] || options+=(--score-map "$score_map")
[ -z "$optional_tokens" ] || options+=(--optional-tokens "$optional_tokens")

. "$(dirname "$0")/../path.sh"
python -m frenchpress.nnet.task "${options[@]}" --out "$out/task"
