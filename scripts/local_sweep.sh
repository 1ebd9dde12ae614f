#!/usr/bin/env bash
# Train every run of a sweep file (see sweep.sh) that is not finished on this machine, so many at a time (bash 5.1):
#
#   bash scripts/local_sweep.sh SWEEP.txt runs/sweep 2 --config normal_gp
#
# What follows the number is for `wgan train`. The output of each run is in FOLDER/NAME.log. TERM stops all with their state
# saved; the same line again goes on with what is left. Exits with the largest exit code of its runs.
set -uo pipefail
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/sweep.sh
source "$scripts/sweep.sh"

if [ $# -lt 3 ] || ! [ "$3" -ge 1 ] 2>/dev/null; then
    echo "usage: local_sweep.sh SWEEP.txt FOLDER HOW-MANY-AT-A-TIME [wgan train's options]" >&2
    exit 2
fi
file=$1 folder=$2 most=$3
shift 3
sweep_check "$file" || exit
mkdir -p "$folder" || exit
wgan=${WGAN:-$(command -v wgan || echo "$scripts/../.venv/bin/wgan")}
cores=$(getconf _NPROCESSORS_ONLN)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > most ? cores / most : 1))}

stopping='' worst=0
declare -A running=()
# shellcheck disable=SC2329 # the trap calls it
stop() {
    stopping=yes
    [ ${#running[@]} -eq 0 ] || kill -TERM "${!running[@]}" 2>/dev/null
}
trap stop TERM INT

# Waits for one run to end, and tells how it did.
reap() {
    local ended='' code=0
    wait -n -p ended "${!running[@]}" || code=$?
    [ -n "${ended:-}" ] || return 0 # a signal came first
    if [ "$code" -ne 0 ]; then
        echo "${running[$ended]}: exit code $code; see $folder/${running[$ended]}.log" >&2
    fi
    [ "$code" -le "$worst" ] || worst=$code
    unset "running[$ended]"
}

while IFS= read -r line; do
    name=$(sweep_name "$line")
    if sweep_finished "$folder/$name"; then
        echo "$name: finished before" >&2
        continue
    fi
    while [ ${#running[@]} -ge "$most" ]; do reap; done
    [ -z "$stopping" ] || break
    sweep_options "$line"
    echo "$name: training" >&2
    "$wgan" train "$@" "${options[@]}" --out "$folder/$name" --resume >>"$folder/$name.log" 2>&1 </dev/null &
    running[$!]=$name
done < <(sweep_lines "$file")
while [ ${#running[@]} -gt 0 ]; do reap; done
[ -z "$stopping" ] || [ "$worst" -ne 0 ] || worst=75
exit "$worst"
