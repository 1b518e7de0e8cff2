#!/usr/bin/env bash
# Triphones on spliced MFCC through LDA and MLLT.
#
#   steps/train_lda_mllt.sh [options] <train-data> <lang> <previous-exp> <exp-dir>
#   e.g.: steps/train_lda_mllt.sh --nj 4 --sil-prob 0.1 data/train data/lang exp/tri1 exp/tri2
#
#   --nj J             threads; the result does not depend on it (1)
#   --sil-prob P       of optional silence between phones and at the ends (0: only where the text has it)
#   --leaves N         tied states, before like ones are merged (1200)
#   --gauss N          Gaussians in all (8000)
# Starts from the alignment in <previous-exp>. Writes final.mdl, tree, final.mat, splice_opts, ali.1.gz.
set -euo pipefail

. "$(dirname "$0")/triphone_options.sh"
python -m frenchpress.gmm.train_lda_mllt "${options[@]}" "$data" "$lang" "$previous" "$exp"
