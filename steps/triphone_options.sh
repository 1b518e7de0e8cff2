# Sourced by the scripts that train a triphone system from a previous one: their options, arguments and checks.
# Sets data, lang, previous, exp, and options: what all of their programs take.
nj=1
sil_prob=0
leaves=1200
gauss=8000

. "$(dirname "$0")/parse_options.sh"
[ $# -eq 4 ] || { fp_usage >&2; exit 1; }
data=$1 lang=$2 previous=$3 exp=$4

for f in "$data/feats.scp" "$data/text" "$lang/phones.txt" "$previous/final.mdl" "$previous/ali.1.gz"; do
  [ -f "$f" ] || { echo "error: $0: $f: no such file" >&2; exit 1; }
done

options=(--nj "$nj" --sil-prob "$sil_prob" --leaves "$leaves" --gauss "$gauss")
. "$(dirname "$0")/../path.sh"
