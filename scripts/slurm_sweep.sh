#!/usr/bin/env bash
#SBATCH --job-name=wgan-sweep
#SBATCH --output=%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
# Train every run of a sweep file (see sweep.sh) that is not finished, as one Slurm job array:
#
#   bash scripts/slurm_sweep.sh SWEEP.txt runs/sweep --config mnist_mlp_gp -- --gpus 1 --time 2:00:00
#
# What follows the folder is for `wgan train`, what follows `--` for sbatch. The same line again submits what is left.
set -euo pipefail
scripts=${WGAN_SCRIPTS:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)} # sbatch runs a copy from elsewhere
# shellcheck source=scripts/sweep.sh
source "$scripts/sweep.sh"

if [ $# -lt 2 ]; then
    echo "usage: slurm_sweep.sh SWEEP.txt FOLDER [wgan train's options] [-- sbatch's options]" >&2
    exit 2
fi
file=$1 folder=$2
shift 2

if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then # inside the array: one run
    line=$(sweep_lines "$file" | sed -n "${SLURM_ARRAY_TASK_ID}p")
    sweep_options "$line"
    exec bash "$scripts/slurm_train.sh" "$@" "${options[@]}" --out "$folder/$(sweep_name "$line")"
fi

sweep_check "$file"
train=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    train+=("$1")
    shift
done
[ $# -eq 0 ] || shift
wanted='' number=0
while IFS= read -r line; do
    number=$((number + 1))
    sweep_finished "$folder/$(sweep_name "$line")" || wanted+=${wanted:+,}$number
done < <(sweep_lines "$file")
if [ -z "$wanted" ]; then
    echo "slurm_sweep.sh: all $number runs are finished" >&2
    exit 0
fi
# The array reads a copy, so that an edit of the file meanwhile mixes up nothing.
mkdir -p "$folder"
kept="$folder/sweep-$(cksum <"$file" | cut -d' ' -f1).txt"
cp "$file" "$kept"
exec sbatch --array="$wanted" --export="ALL,WGAN_SCRIPTS=$scripts" "$@" \
    "$scripts/slurm_sweep.sh" "$kept" "$folder" ${train[@]+"${train[@]}"}
