#!/usr/bin/env bash
# Run a command, or N jobs of it, on this machine or on a cluster; a log for each; wait until all have ended.
#
#   steps/job.sh [options] [JOB=1:N] <log> <command> [arguments]
#   e.g.: steps/job.sh JOB=1:4 exp/log/count.JOB.log wc -l data/JOB.txt
#         steps/job.sh --on slurm --gpu 1 --submit "--partition long" exp/x/log/train.log \
#           steps/train_am.sh conf/x.cfg exp/task exp/x
#
#   --on SYSTEM        local, slurm (sbatch) or sge (qsub) (local)
#   --gpu N            GPUs of each job (0)
#   --threads N        processors of each job (1)
#   --mem SIZE         memory of each job, such as 8G (what the system gives)
#   --max-jobs N       jobs side by side on this machine (the number of cores)
#   --submit "OPTIONS" more options of sbatch or qsub
# JOB in the log and in the command is the number of the job. When a job has failed, the last lines of its log are shown
# and the exit status is 1. The directory must be seen by all machines.
set -euo pipefail

on=local
gpu=0
threads=1
mem=
max_jobs=$(nproc)
submit=

. "$(dirname "$0")/parse_options.sh"
die() { echo "error: $0: $*" >&2; exit 1; }
first=1 last=1 array=false
if [[ ${1-} == JOB=* ]]; then
  [[ $1 =~ ^JOB=([1-9][0-9]*):([1-9][0-9]*)$ ]] && [ "${BASH_REMATCH[1]}" -le "${BASH_REMATCH[2]}" ] ||
    die "$1: expected JOB=1:N"
  first=${BASH_REMATCH[1]} last=${BASH_REMATCH[2]} array=true
  shift
fi
[ $# -ge 2 ] || { fp_usage >&2; exit 1; }
log=$1
shift
[[ $on =~ ^(local|slurm|sge)$ ]] || die "--on is '$on', expected local, slurm or sge"
for n in gpu threads max_jobs; do [[ ${!n} =~ ^[0-9]+$ ]] || die "--${n/_/-} is '${!n}', expected a number"; done
[ "$array" = false ] || [ "$first" = "$last" ] || [[ $log == *JOB* ]] || die "$log: jobs would share one log; put JOB into its name"

# What each job runs, wherever it is.
mkdir -p "$(dirname "$log")/q"
name=$(basename "${log%.log}")
script=$(dirname "$log")/q/$name.sh
{
  echo '#!/usr/bin/env bash'
  printf 'cd %q\nlog=%q\nwords=(' "$PWD" "$log"
  printf '%q ' "$@"
  echo ')'
  echo 'job=${SLURM_ARRAY_TASK_ID:-${SGE_TASK_ID:-$1}}'
  [ "$array" = false ] || echo 'log=${log//JOB/$job} words=("${words[@]//JOB/$job}")'
  cat << 'END'
{ printf '# '; printf '%q ' "${words[@]}"; printf '\n# Started at %s on %s\n' "$(date)" "$(hostname)"; } > "$log"
status=0
"${words[@]}" >> "$log" 2>&1 < /dev/null || status=$?
echo "# Ended (code $status) at $(date)" >> "$log"
exit $status
END
} > "$script"
log_of() { if [ "$array" = true ]; then echo "${log//JOB/$1}"; else echo "$log"; fi; }
for ((j = first; j <= last; j++)); do rm -f "$(log_of "$j")"; done

label=fp-${name//[^A-Za-z0-9_.-]/_}-$$
case $on in
  local)
    trap 'kill $(jobs -p) 2> /dev/null; exit 130' INT TERM HUP
    for ((j = first; j <= last; j++)); do
      while [ "$(jobs -rp | wc -l)" -ge "$max_jobs" ]; do wait -n || true; done
      bash "$script" "$j" &
    done
    wait || true ;;
  slurm)
    options=(--wait --job-name "$label" --array "$first-$last" --cpus-per-task "$threads" --output /dev/null)
    [ "$gpu" = 0 ] || options+=(--gres "gpu:$gpu")
    [ -z "$mem" ] || options+=(--mem "$mem")
    trap 'scancel --name "$label"; exit 130' INT TERM HUP
    sbatch "${options[@]}" $submit "$script" > /dev/null & wait $! || true ;;
  sge)
    options=(-sync y -N "$label" -t "$first-$last" -S /bin/bash -V -o /dev/null -e /dev/null)
    [ "$threads" = 1 ] || options+=(-pe smp "$threads")
    [ "$gpu" = 0 ] || options+=(-l "gpu=$gpu")
    [ -z "$mem" ] || options+=(-l "mem_free=$mem")
    trap 'qdel "$label"; exit 130' INT TERM HUP
    qsub "${options[@]}" $submit "$script" > /dev/null & wait $! || true ;;
esac

# By the logs and not by what sbatch or qsub say of all jobs together. A job that was killed has no last line.
failed=()
for ((j = first; j <= last; j++)); do
  tail -n 1 "$(log_of "$j")" 2> /dev/null | grep -q '^# Ended (code 0)' || failed+=("$(log_of "$j")")
done
[ "${#failed[@]}" -gt 0 ] || exit 0
if [ -f "${failed[0]}" ]; then
  tail -n 10 "${failed[0]}" >&2
else
  echo "  (it was never begun)" >&2
fi
die "${#failed[@]} of $((last - first + 1)) jobs failed; above are the last lines of ${failed[0]}"
