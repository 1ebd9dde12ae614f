#!/usr/bin/env bash
# Run the Slurm scripts on a real Slurm: a cluster of one node, made in a scratch folder and removed again.
#
#   apt-get install --no-install-recommends slurm-wlm munge    # as root, on a machine to throw away
#   bash scripts/slurm_check.sh
#
# Shows that a job which is warned three times comes back each time, and writes the figures of an undisturbed run; that
# a run outlives the death of its node's daemon; that two ranks stop and go on together; and that of an array, the one
# task that fails is the one submitted again. Takes some minutes. Exits with 77 where this can't be shown.
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scripts=$repository/scripts

skip() {
    echo "slurm_check.sh: skipped: $1" >&2
    exit 77
}
[ "$(id -u)" -eq 0 ] || skip "needs root, on a machine to throw away"
for program in slurmctld slurmd munged sbatch; do
    command -v "$program" >/dev/null || skip "there is no $program; apt-get install slurm-wlm munge"
done
[ ! -e /etc/slurm/slurm.conf ] || skip "this machine has a Slurm of its own (/etc/slurm/slurm.conf)"
export WGAN=${WGAN:-$(command -v wgan || echo "$repository/.venv/bin/wgan")}
[ -x "$WGAN" ] || skip "there is no wgan; name it by \$WGAN"

folder=$(mktemp -d /tmp/slurm_check.XXXXXX)
export SLURM_CONF=$folder/slurm.conf
host=$(hostname -s)
started=()
# shellcheck disable=SC2329 # the trap calls it
stop() {
    scancel --user root 2>/dev/null || true
    for _ in {1..20}; do # a job that is cancelled has its own time to end
        [ -n "$(squeue --noheader 2>/dev/null)" ] || break
        sleep 1
    done
    pkill -f "slurmd -f $SLURM_CONF" || true
    [ ${#started[@]} -eq 0 ] || kill "${started[@]}" 2>/dev/null || true
    sleep 1
    rm -rf "$folder"
}
trap stop EXIT

# --- a cluster of one node -----------------------------------------------------------------------------------------
start_cluster() {
    mkdir "$folder"/{state,spool,munge}
    chmod 755 "$folder"
    head -c 1024 /dev/urandom >"$folder/munge/key"
    chmod 700 "$folder/munge" && chmod 400 "$folder/munge/key"
    mkdir -m 755 "$folder/socket"
    munged --foreground --force --key-file "$folder/munge/key" --socket "$folder/socket/munge" \
        --pid-file "$folder/munge/pid" --log-file "$folder/munge/log" --seed-file "$folder/munge/seed" \
        >/dev/null 2>&1 &
    started+=($!)
    # Credentials expire soon, as a requeued job waits for that.
    cat >"$SLURM_CONF" <<END
ClusterName=check
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/socket/munge,cred_expire=5
CredType=cred/munge
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
SlurmdTimeout=60
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
END
    slurmctld -D -f "$SLURM_CONF" >/dev/null 2>&1 &
    started+=($!)
    start_node
    until_true 30 node_is_up
}
start_node() {
    slurmd -f "$SLURM_CONF"
}
node_is_up() {
    sinfo --noheader --format %t 2>/dev/null | grep -qE '^(idle|mix|alloc)$'
}

# Waits up to so many seconds until a command succeeds.
until_true() {
    local left=$1
    shift
    until "$@"; do
        left=$((left - 1))
        if [ "$left" -le 0 ]; then
            echo "slurm_check.sh: waited in vain for: $*" >&2
            tail -n 5 "$folder"/*.log >&2
            exit 1
        fi
        sleep 1
    done
}
job_is() { [ "$(job_value "$1" JobState)" = "$2" ]; }
job_value() { scontrol show job "$1" | tr ' ' '\n' | sed -n "s/^$2=//p" | head -n 1; }
was_requeued() { [ "$(job_value "$1" Restarts)" -ge "$2" ]; }
has_iterations() { [ "$(lines_of "$1")" -gt "$2" ]; }
lines_of() { wc -l 2>/dev/null <"$1/metrics.jsonl" || echo 0; }
queue_is_empty() { [ -z "$(squeue --noheader)" ]; }
passed() { echo "passed: $1"; }
failed() {
    echo "FAILED: $1" >&2
    tail -n 20 "$folder"/*.log >&2
    exit 1
}

# --- the checks ----------------------------------------------------------------------------------------------------
submitted() { # submits slurm_train.sh with sbatch's options up to `--`, and prints the job's number
    local options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    sbatch --parsable --chdir "$folder" --time 30 ${options[@]+"${options[@]}"} "$scripts/slurm_train.sh" "$@"
}
QUICK=(--config normal_gp --set output.log_every=50 --set output.sample_every=500 --set training.iterations=1500)

# What of the figures does not depend on the clock.
figures() {
    sed -E 's/, "speed[^,}]*//g' "$1/metrics.jsonl"
}
same_figures() {
    diff <(figures "$1") <(figures "$2") >/dev/null
}

warn_three_times() {
    local job number
    job=$(submitted -- "${QUICK[@]}" --out "$folder/warned")
    for number in 1 2 3; do
        until_true 120 has_iterations "$folder/warned" "$((number * 4 - 4))"
        scancel --signal USR1 --batch "$job"
        until_true 60 was_requeued "$job" "$number"
        until_true 60 job_is "$job" RUNNING
    done
    until_true 900 job_is "$job" COMPLETED
    same_figures "$folder/warned" "$folder/undisturbed" || failed "the figures of a run that was requeued differ"
    passed "warned and requeued three times; the figures are those of an undisturbed run"
}

kill_the_daemon() {
    local job
    job=$(submitted -- "${QUICK[@]}" --out "$folder/orphan")
    until_true 60 has_iterations "$folder/orphan" 1
    pkill -9 -f "slurmd -f $SLURM_CONF"
    sleep 3
    start_node
    until_true 900 job_is "$job" COMPLETED
    same_figures "$folder/orphan" "$folder/undisturbed" || failed "the figures after the daemon's death differ"
    passed "a run goes on while its node's daemon is killed and started again"
}

stop_two_ranks() {
    local job
    job=$(submitted --ntasks 2 -- "${QUICK[@]}" --out "$folder/ranks")
    until_true 120 has_iterations "$folder/ranks" 2
    scancel --signal USR1 --batch "$job"
    until_true 60 was_requeued "$job" 1
    until_true 900 job_is "$job" COMPLETED
    grep -q '"state": "finished"' "$folder/ranks/status.json" || failed "two ranks did not finish"
    grep -q 'ranks 2' "$folder/ranks/log.txt" || failed "the run had not two ranks"
    passed "two ranks stop together, and go on"
}

fail_one_of_an_array() {
    local again
    printf 'seed=0\nseed=-1\nseed=2\n' >"$folder/sweep.txt"
    local line=("$folder/sweep.txt" "$folder/sweep" --config normal_gp --set training.iterations=20
        -- --parsable --chdir "$folder" --time 30)
    bash "$scripts/slurm_sweep.sh" "${line[@]}" >/dev/null
    until_true 900 queue_is_empty
    for seed in 0 2; do
        grep -q '"state": "finished"' "$folder/sweep/seed=$seed/status.json" || failed "seed=$seed did not finish"
    done
    again=$(bash "$scripts/slurm_sweep.sh" "${line[@]}")
    [ "$(job_value "$again" ArrayTaskId)" = 2 ] || failed "not the failed task alone was submitted again"
    until_true 900 queue_is_empty
    passed "of an array of three, two finish, and the one that failed is submitted again"
}

start_cluster
"$WGAN" train "${QUICK[@]}" --out "$folder/undisturbed" >/dev/null 2>&1
warn_three_times
kill_the_daemon
stop_two_ranks
fail_one_of_an_array
