#!/usr/bin/env bash
# French Press: from a corpus to a table of what each compression costs.
#
#   ./run.sh                                            the synthetic corpus: float, and 1/16 of the weights twice
#   ./run.sh --demo                                     a tiny model in minutes, and what it recognises, in pictures
#   ./run.sh --stage 4 --conf "conf/w6a13.cfg"          one more experiment on what is already prepared
#   ./run.sh --corpus timit --corpus-dir /data/TIMIT    LDC93S1 as it comes
#   ./run.sh --corpus kaldi-data --corpus-dir DIR       Kaldi-style train/ dev/ test/
#   ./run.sh --kaldi-s5 egs/timit/s5                    features, alignments and graph of an existing Kaldi experiment
#   ./run.sh --recipe recipes/bits --results exp/bits   a study, on what stages 0 to 3 have prepared
#   ./run.sh --explore recipes/explore_16x              a search for designs, on the same
#
# Stages: 0 data directories, validated   1 MFCC and CMVN   2 GMM: mono, tri1, tri2 (LDA+MLLT), tri3 (SAT)
#         3 features, alignments, graph   4 training, per .cfg   5 decoding and scoring
#         6 exp/RESULTS.md, and exp/report/index.html to sort, filter and look at
# Stopped at any moment, the same command goes on where it was.
#
#   --stage N           first stage to run (0)
#   --stop-stage N      last stage to run (6)
#   --conf "A B"        experiments: one or several conf/*.cfg (lstm512, w6a13_bank16x and w8a16_hcgs16x of conf/);
#                       models that one starts or learns from are trained first, where they are not yet
#   --corpus NAME       synth, timit or kaldi-data (synth)
#   --corpus-dir DIR    where the corpus lies (synth makes its own)
#   --synth-size SIZE   tiny, small, or timit for the full 3696/400/192 utterances (small)
#   --nj J              processes side by side (the number of cores, 16 at most)
#   --workers N         processes that train one experiment together, docs/machines.md (as the .cfg says, or one)
#   --gpu N             GPUs of each training, where cmd.sh sends it to a cluster (0)
#   --seeds "S T"       train every experiment with each of these seeds (the seed of the .cfg)
#   --data DIR          prepared data (data)
#   --exp DIR           results (exp)
#   --kaldi-s5 DIR      an existing Kaldi s5 directory in place of stages 0-3, of phones (PER) or of words (WER): stage 3
#                       says which; see docs/own_speech.md
#   --features KIND     fmllr, adapted to each speaker, or for unknown speakers lda or fbank (fmllr); see docs/recognise.md.
#                       Tasks and models of the others go to EXP/lda, EXP/fbank
#   --speed-perturb "A B"   train networks on the training set at these speeds as well, such as "0.9 1.1" (none). GMMs are
#                       trained without; tasks and models go to EXP/fmllr_sp, EXP/lda_sp, EXP/fbank_sp
#   --leaves N          tied states of tri1-tri3 (by corpus: timit 2500, kaldi-data 1200, synth tiny 150, small 700)
#   --gauss N           Gaussians of tri1-tri3 (by corpus: timit 15000, kaldi-data 8000, synth tiny 600, small 4000)
#   --first-silence W   optional silence when the GMMs begin: coin, at any place, as Kaldi does, or ends, of utterances,
#                       which can give better systems, see docs/real_speech.md (coin)
#   --reference FILE    YAML of reference PERs (system: [dev, test]) to print beside the GMM rows
#   --baseline NAME     experiment that the differences in the table count from (the first float one)
#   --chip FILE         chips/x.yaml: the table also says what a frame costs on this chip (of a study too)
#   --allow-pipes       let entries of wav.scp and feats.scp be shell pipes, and run them
#   --silence "A B"     of kaldi-data: phones that are silence, in place of the usual names (sil, sp, pau, <sil>, ...)
#   --score-map FILE    of kaldi-data and --kaldi-s5: two columns, phone and what it is scored as (DIR/phones.map);
#                       not for words
#   --demo              train and try a tiny model, in DATA/demo and EXP/demo; of the options above --nj, --data, --exp
# Of an exploration, in place of stages (docs/explore.md); --task, --jobs and --results as of a study:
#   --explore DIR       what varies, what is to be small (recipes/explore_tiny, ...); experiments go to EXP/<its name>
#   --storage URL       a database that several machines share, postgresql+psycopg://... (EXP/<its name>/explore.db)
#   --heartbeat S       seconds between signs of life of a worker (60)
# Of a study, in place of stages:
#   --recipe DIR        the study (recipes/published_points, recipes/bits, ...); results go to EXP/<its name>
#   --task DIR          features, targets and graph (EXP/task)
#   --only "A B*"       these of its experiments, names or patterns (all)
#   --epochs N, --set "K=V K=V"   keys to override in all of its experiments; the table says so
#   --jobs J            its experiments side by side (1); on one machine as many as cores, each with one thread
#   --results DIR       where RESULTS.md, figures and records of runs are written (the study's directory, if that has
#                       no records of another task)
set -euo pipefail

stage=0
stop_stage=6
fp_default_conf="conf/lstm512.cfg conf/w6a13_bank16x.cfg conf/w8a16_hcgs16x.cfg"
conf=$fp_default_conf
corpus=synth
corpus_dir=
synth_size=small
nj=
workers=
gpu=0
seeds=
data=data
exp=exp
kaldi_s5=
features=fmllr
speed_perturb=
leaves=
gauss=
first_silence=coin
reference=
baseline=
chip=
allow_pipes=false
silence=
score_map=
demo=false
explore=
storage=
heartbeat=
recipe=
task=
only=
epochs=
set=
jobs=
results=

cd "$(dirname "$0")"
. steps/parse_options.sh
[ $# -eq 0 ] || { echo "error: run.sh: unexpected argument '$1'; --help lists the options" >&2; exit 1; }

die() { echo "error: run.sh: $*" >&2; exit 1; }
for n in stage stop_stage; do
  [[ ${!n} =~ ^[0-6]$ ]] || die "--${n//_/-} is '${!n}', expected 0 to 6"
done
[ "$stage" -le "$stop_stage" ] || die "--stage $stage comes after --stop-stage $stop_stage: nothing would be run"
[ -n "$nj" ] || { nj=$(nproc); [ "$nj" -le 16 ] || nj=16; }
if [ -n "$recipe$explore" ]; then
  [ -z "$recipe" ] || [ -z "$explore" ] || die "--recipe or --explore, one of them"
  [ "$stage $stop_stage $conf" = "0 6 $fp_default_conf" ] && [ -z "$workers$corpus_dir$kaldi_s5$leaves$gauss$reference$baseline$silence$score_map" ] &&
    [ "$features$speed_perturb" = fmllr ] ||
    die "--recipe and --explore run on what stages 0 to 3 have made, and no stage; leave out options of stages"
fi
[[ $features =~ ^(fmllr|lda|fbank)$ ]] || die "--features is '$features', expected fmllr, lda or fbank"
[ "$features$speed_perturb" = fmllr ] || [ -z "$kaldi_s5" ] ||
  die "--features and --speed-perturb need audio; with --kaldi-s5 there are the fMLLR features of that directory"
[[ $speed_perturb =~ ^[0-9.\ ]*$ ]] || die "--speed-perturb is '$speed_perturb', expected speeds, such as \"0.9 1.1\""
[[ $first_silence =~ ^(coin|ends)$ ]] || die "--first-silence is '$first_silence', expected coin or ends"
[[ $nj =~ ^[1-9][0-9]*$ ]] || die "--nj is '$nj', expected a number of processes"
if [ "$demo" = true ]; then
  others=$workers$speed_perturb$corpus_dir$seeds$kaldi_s5$leaves$gauss$reference$baseline$chip$silence$score_map
  others+=$recipe$task$only$epochs$set$jobs$results$explore$storage$heartbeat
  [ "$stage $stop_stage $conf $corpus $synth_size $features $first_silence $allow_pipes $others" = \
    "0 6 $fp_default_conf synth small fmllr coin false " ] ||
    die "--demo has its own corpus, model and stages; leave out options other than --nj, --data and --exp"
  exec steps/demo.sh --nj "$nj" "$data/demo" "$exp/demo"
fi
[[ $workers =~ ^([1-9][0-9]*)?$ ]] || die "--workers is '$workers', expected a number of processes"
[[ $gpu =~ ^[0-9]+$ ]] || die "--gpu is '$gpu', expected a number of GPUs"
[[ $seeds =~ ^[0-9\ ]*$ ]] || die "--seeds is '$seeds', expected numbers, such as \"1 2 3\""
for c in $conf; do [ -f "$c" ] || die "--conf: $c: no such file; conf/ has $(echo conf/*.cfg)"; done
case $corpus-$synth_size in
  synth-tiny) : "${leaves:=150}" "${gauss:=600}" ;;
  synth-small) : "${leaves:=700}" "${gauss:=4000}" ;;
  synth-timit|timit-*) : "${leaves:=2500}" "${gauss:=15000}" ;;
  kaldi-data-*) : "${leaves:=1200}" "${gauss:=8000}" ;;
  synth-*) die "--synth-size is '$synth_size', expected tiny, small or timit" ;;
  *) die "--corpus is '$corpus', expected synth, timit or kaldi-data" ;;
esac
for n in leaves gauss; do
  [[ ${!n} =~ ^[1-9][0-9]{0,5}$ ]] || die "--$n is '${!n}', expected a number from 1 to 999999"
done
[ "$gauss" -ge "$leaves" ] || die "--gauss is $gauss, expected at least one per leaf: --leaves is $leaves"
if [ -n "$explore" ]; then
  [ -z "$chip$seeds$only$epochs$set" ] || die "--explore has chip, seed and epochs in its space.yaml; leave out options of studies"
  [ -f "$explore/space.yaml" ] || die "--explore: $explore/space.yaml: no such file; there are $(dirname recipes/*/space.yaml | xargs)"
  exec steps/run_explore.sh --storage "$storage" --jobs "${jobs:-1}" --nj "$nj" --heartbeat "${heartbeat:-60}" \
    --results "$results" "$explore" "${task:-$exp/task}" "$exp/$(basename "$explore")"
fi
for n in storage heartbeat; do [ -z "${!n}" ] || die "--$n is of an exploration; it needs --explore DIR"; done
if [ -n "$recipe" ]; then
  [ -f "$recipe/study.yaml" ] || die "--recipe: $recipe/study.yaml: no such file; there are $(dirname recipes/*/study.yaml | xargs)"
  exec steps/run_study.sh --chip "$chip" --nj "$nj" --seeds "$seeds" --only "$only" --epochs "$epochs" --set "$set" --jobs "${jobs:-1}" \
    --results "$results" "$recipe" "${task:-$exp/task}" "$exp/$(basename "$recipe")"
fi
for n in task only epochs set jobs results; do [ -z "${!n}" ] || die "--$n is of a study; it needs --recipe DIR"; done
if [ "$corpus" != synth ] && [ -z "$corpus_dir" ] && [ -z "$kaldi_s5" ] && [ "$stage" = 0 ]; then
  die "--corpus $corpus needs --corpus-dir DIR"
fi
train=train out=$exp
[ -z "$speed_perturb" ] || train=train_sp
[ "$features$speed_perturb" = fmllr ] || out=$exp/$features${speed_perturb:+_sp}
[ "$stage" -lt 4 ] || [ "$stage" = 6 ] || [ -f "$out/task/meta.yaml" ] ||
  die "--exp: $out/task: no task; run stages 0 to 3 first, or name the --exp of a run that has"
[ "$stage" -lt 6 ] || [ -d "$out" ] || die "--exp: $out: no such directory"
[ -z "$silence" ] || [ "$corpus" = kaldi-data ] || die "--silence is of --corpus kaldi-data; $corpus has its own phones"
if [ -n "$score_map" ]; then
  [ "$corpus" = kaldi-data ] || [ -n "$kaldi_s5" ] ||
    die "--score-map is of --corpus kaldi-data and of --kaldi-s5; $corpus has its own"
  [ -f "$score_map" ] || die "--score-map: $score_map: no such file"
fi
[ -z "$kaldi_s5" ] || [ -d "$kaldi_s5" ] || die "--kaldi-s5: $kaldi_s5: no such directory"

. ./path.sh
. ./cmd.sh
. steps/lock.sh
if [ "$gpu" != 0 ]; then
  [ "${#train_cmd[@]}" -gt 0 ] || die "--gpu is what a cluster is asked for; cmd.sh names none"
  train_cmd+=(--gpu "$gpu")
fi
[ "${#others_cmd[@]}" = 0 ] || others_cmd+=(--threads "$nj")
# <log> <command ...>: as cmd.sh says.
others() { if [ "${#others_cmd[@]}" = 0 ]; then "${@:2}"; else "${others_cmd[@]}" "$@"; fi; }
train() { if [ "${#train_cmd[@]}" = 0 ]; then "${@:2}"; else "${train_cmd[@]}" "$@"; fi; }
# Results of one corpus would take the place of another's, and be read beside what is left of them.
option=--data source=$data
[ -z "$kaldi_s5" ] || option=--kaldi-s5 source=$kaldi_s5
from="$option $(realpath -m --relative-to="$exp" "$source")"
refuse_others() {
  local before
  before=$(cat "$exp/.made_from" 2> /dev/null || echo "$from")
  [ "$before" = "$from" ] || die "--exp: $exp was made with ${before%% *} $(realpath -m --relative-to=. "$exp/${before#* }");" \
    "give that again, or another --exp for what is made with $option $source"
}
made() { echo "$from" > "$exp/.made_from"; }
# Stages 4 and 5 lock what they write, an experiment's directory; 6 writes its files whole.
if [ "$stage" -le 3 ]; then
  fp_lock "$exp"
  [ "$stop_stage" -lt 2 ] || refuse_others
elif [ "$stage" -le 5 ]; then fp_lock "$exp" 10 -s; fi

[ -z "$chip" ] || python -m frenchpress.hardware --chip "$chip" > /dev/null
# What a .cfg says wrongly is better said now than after an hour of preparation. Models that one starts or learns from
# are trained before it, where they are not yet.
plan=
if [ "$stage" -le 5 ] && [ "$stop_stage" -ge 4 ]; then
  parents=()
  [ "$stage" -le 4 ] || parents=(--no-parents)
  plan=$(python -m frenchpress.nnet.check --plan $conf --exp "$out" --seeds $seeds "${parents[@]}")
fi

begin=$SECONDS
run_stage() { [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }
say() { printf '%s  %4d s  stage %s: %s\n' "$(date +%H:%M:%S)" $((SECONDS - begin)) "$1" "$2"; }

if [ -z "$kaldi_s5" ]; then
  if run_stage 0; then
    say 0 "$corpus to Kaldi data directories in $data"
    case $corpus in
      synth) local/synth_data_prep.sh --size "$synth_size" --nj "$nj" "$data" ;;
      timit) local/timit_data_prep.sh "$corpus_dir" "$data" ;;
      kaldi-data) local/kaldi_data_prep.sh --nj "$nj" --allow-pipes "$allow_pipes" --silence "$silence" \
        --score-map "$score_map" "$corpus_dir" "$data" ;;
    esac
    steps/summary.sh --leaves "$leaves" --gauss "$gauss" "$data"
    steps/prepare_lang.sh "$data"
  fi
  if run_stage 1; then
    say 1 "MFCC and CMVN"
    for set in train dev test; do
      others "$exp/log/make_mfcc_$set.log" steps/make_mfcc.sh --nj "$nj" --allow-pipes "$allow_pipes" "$data/$set"
    done
    [ -z "$speed_perturb" ] || others "$exp/log/perturb_speed.log" \
      steps/perturb_speed.sh --nj "$nj" --allow-pipes "$allow_pipes" --speeds "$speed_perturb" "$data/train" "$data/train_sp"
  fi
  if run_stage 2; then
    say 2 "GMM-HMM: mono, tri1, tri2 (LDA+MLLT), tri3 (SAT)"
    others "$exp/log/train_gmm.log" steps/train_gmm.sh --nj "$nj" --leaves "$leaves" --gauss "$gauss" \
      --first-silence "$first_silence" "$data" "$exp"
    made
  fi
  if run_stage 3; then
    say 3 "features ($features), alignments and graph"
    others "$exp/log/align_fmllr.log" steps/align_fmllr.sh --nj "$nj" --train "$train" "$data" "$exp"
    [ "$features" = fmllr ] || others "$exp/log/unadapted_feats.log" \
      steps/unadapted_feats.sh --nj "$nj" --train "$train" --allow-pipes "$allow_pipes" \
      "$features" "$data" "$exp"
    steps/make_task.sh --features "$features" --train "$train" "$data" "$exp" "$out"
    made
  fi
elif run_stage 3; then
  say 3 "features, alignments and graph of $kaldi_s5"
  steps/make_task.sh --kaldi-s5 "$kaldi_s5" --allow-pipes "$allow_pipes" --score-map "$score_map" "$data" "$exp"
  made
fi

[ "$stage" -gt 3 ] || [ "$stop_stage" -lt 4 ] || fp_share
while IFS=$'\t' read -r c seed name; do
  if run_stage 4; then
    say 4 "training $out/$name"
    train "$out/$name/log/train.log" \
      steps/train_am.sh --seed "$seed" --workers "$workers" "$c" "$out/task" "$out/$name" < /dev/null
  fi
  if run_stage 5; then
    say 5 "decoding $out/$name"
    others "$out/$name/log/decode.log" steps/decode.sh --nj "$nj" --config "$c" "$out/task" "$out/$name" < /dev/null
  fi
done < <([ -z "$plan" ] || printf '%s\n' "$plan")

if run_stage 6; then
  say 6 "tables and figures"
  steps/report.sh --reference "$reference" --baseline "$baseline" --chip "$chip" "$out"
fi
