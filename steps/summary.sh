#!/usr/bin/env bash
# How much speech stage 0 has found, of how many speakers, and which phones; whether GMMs of that size can be had.
#
#   steps/summary.sh [options] <data>
#   e.g.: steps/summary.sh --leaves 1200 --gauss 8000 data
#
#   --leaves N         tied states to be trained (1200)
#   --gauss N          Gaussians to be trained (8000)
set -euo pipefail
leaves=1200
gauss=8000
. "$(dirname "$0")/parse_options.sh"
[ $# -eq 1 ] || { fp_usage >&2; exit 1; }
data=$1
[ -d "$data/dict" ] || { echo "error: $0: $data/dict: no such directory; run stage 0 first" >&2; exit 1; }
. "$(dirname "$0")/../path.sh"
python -m frenchpress.kaldi.summary --leaves "$leaves" --gauss "$gauss" "$data"
