# Sourced after a script has set its options to their defaults: `--some-name value` sets some_name, which must
# already exist; a switch whose default is true or false may stand alone; --help prints the script's leading comment.
fp_usage() { awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0"; }

while [ $# -gt 0 ]; do
  case $1 in
    -h|--help) fp_usage; exit 0 ;;
    --*=*) fp_name=${1%%=*}; fp_value=${1#*=}; fp_shift=1 ;;
    --*) fp_name=$1; fp_value=${2-}; fp_shift=2 ;;
    *) break ;;
  esac
  fp_var=${fp_name#--}; fp_var=${fp_var//-/_}
  if ! [[ $fp_var =~ ^[a-z][a-z0-9_]*$ ]] || [[ $fp_var == fp_* ]] || [ -z "${!fp_var+set}" ]; then
    echo "error: $0: no option $fp_name; --help lists them" >&2; exit 1
  fi
  if [[ ${!fp_var} == true || ${!fp_var} == false ]] && [ $fp_shift = 2 ] && [[ $fp_value != true && $fp_value != false ]]; then
    fp_value=true; fp_shift=1
  elif [ $fp_shift = 2 ] && [ $# -lt 2 ]; then
    echo "error: $0: option $fp_name needs a value" >&2; exit 1
  fi
  printf -v "$fp_var" '%s' "$fp_value"
  shift $fp_shift
done
