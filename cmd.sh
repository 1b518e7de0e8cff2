# Where the programs of stages run, as in Kaldi's cmd.sh. Sourced by run.sh and by steps/run_study.sh. An empty list: in
# the shell that has started them. steps/job.sh --help lists the options; --gpu of run.sh is added to train_cmd, and --nj
# as --threads to the others.
#
#   Slurm: train_cmd=(steps/job.sh --on slurm --mem 8G --threads 2 --submit "--partition cpu --time 12:00:00")
#          others_cmd=(steps/job.sh --on slurm --mem 8G)
#   SGE:   train_cmd=(steps/job.sh --on sge --mem 8G --threads 2 --submit "-q all.q")
train_cmd=()   # stage 4, and trainings of studies
others_cmd=()  # stages 1 to 3, and 5
