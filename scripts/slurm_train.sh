#!/usr/bin/env bash
#SBATCH --job-name=wgan
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
# Train one run on Slurm, on one node or many, until it is done, however often the job is stopped:
#
#   sbatch --nodes 2 --ntasks-per-node 4 --gpus-per-node 4 --time 4:00:00 \
#       scripts/slurm_train.sh --config mnist_mlp_gp --out runs/digits --set training.batch_size=512
#
# Options before the script are sbatch's, those after it `wgan train`'s; --out is needed, --resume is added. Each
# task is a rank with a share of the batch. Two minutes before the time is up, or when the job is preempted, the
# run saves itself, and the job goes back into the queue. $WGAN names another wgan than the one on the PATH.
set -uo pipefail

case " $* " in
*" --out "* | *" --out="*) ;;
*)
    echo "slurm_train.sh: name the run's folder by --out, so that a job that comes back finds it" >&2
    exit 2
    ;;
esac
wgan=${WGAN:-$(command -v wgan || echo "${SLURM_SUBMIT_DIR:-.}/.venv/bin/wgan")}
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

# --kill-on-bad-exit: a rank that dies takes the others with it.
srun --kill-on-bad-exit=1 --cpus-per-task="$OMP_NUM_THREADS" "$wgan" train "$@" --resume &
step=$!
# USR1, as srun passes it on to every rank; TERM would make srun itself give up.
trap 'signalled=yes; kill -USR1 "$step" 2>/dev/null' USR1 TERM
while signalled=; wait "$step"; code=$?; [ -n "$signalled" ]; do :; done

if [ "$code" -eq 75 ]; then
    echo "slurm_train.sh: stopped with the state saved; the job goes back into the queue" >&2
    scontrol requeue "$SLURM_JOB_ID" || exit 75
    exit 0
fi
exit "$code"
