#!/usr/bin/env bash
# The table of all systems and experiments, and a page to look at them.
#
#   steps/report.sh [options] <exp-dir>
#   e.g.: steps/report.sh exp
#
#   --reference FILE   YAML of reference PERs (system: [dev, test], null if not known) to print beside the GMM rows
#   --baseline NAME    experiment that differences count from (the first float one)
#   --chip FILE        chips/x.yaml: also what a frame costs on this chip; packs the experiments that can be packed
# Writes <exp-dir>/RESULTS.md, <exp-dir>/results.json and <exp-dir>/report/index.html.
set -euo pipefail

reference=
baseline=
chip=

. "$(dirname "$0")/parse_options.sh"
[ $# -eq 1 ] || { fp_usage >&2; exit 1; }
exp=$1

[ -d "$exp" ] || { echo "error: $0: $exp: no such directory" >&2; exit 1; }

. "$(dirname "$0")/../path.sh"
options=(); [ -z "$reference" ] || options=(--reference "$reference")
[ -z "$baseline" ] || options+=(--baseline "$baseline")
if [ -n "$chip" ]; then
  python -m frenchpress.hardware --chip "$chip" > /dev/null
  options+=(--chip "$chip")
  for model in "$exp"/*/final.pt; do
    d=$(dirname "$model")
    # What cannot be packed, such as a model of floats, says why; the table goes on without it.
    [ ! -f "$model" ] || [ "$d/model.press" -nt "$model" ] || python -m frenchpress.export.pack "$d" || true
  done
fi
python -m frenchpress.report.table --exp "$exp" "${options[@]}"
