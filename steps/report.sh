#!/usr/bin/env bash
# The table of all systems and experiments.
#
#   steps/report.sh [options] <exp-dir>
#   e.g.: steps/report.sh exp
#
#   --reference FILE   YAML of reference PERs (system: [dev, test], null if not known) to print beside the GMM rows
#   --baseline NAME    experiment that differences count from (the first float one)
# Writes <exp-dir>/RESULTS.md and <exp-dir>/results.json.
set -euo pipefail

reference=
baseline=

. "$(dirname "$0")/parse_options.sh"
[ $# -eq 1 ] || { fp_usage >&2; exit 1; }
exp=$1

[ -d "$exp" ] || { echo "error: $0: $exp: no such directory" >&2; exit 1; }

. "$(dirname "$0")/../path.sh"
options=(); [ -z "$reference" ] || options=(--reference "$reference")
[ -z "$baseline" ] || options+=(--baseline "$baseline")
python -m frenchpress.report.table --exp "$exp" "${options[@]}"
