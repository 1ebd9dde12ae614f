#!/usr/bin/env bash
# Sourced by the sweeps. A sweep file has one run a line, as values for `--set`; quotes are the shell's:
#
#   optimizer.critic.lr=1.0e-4 seed=0
#   'lipschitz={kind: clip, bound: 0.01}' seed=1    # a comment
#
# A run's folder is named by its line. Finished runs are skipped, the others are resumed.

# The lines of a sweep file that name a run.
sweep_lines() {
    sed -e 's/[[:space:]]#.*//' -e 's/^#.*//' -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' -e '/^$/d' "$1"
}

# The name of the folder of a line: its settings, without characters that file systems refuse.
sweep_name() {
    sed -e "s/[][{}'\"]//g" -e 's/: */-/g' -e 's/, */,/g' -e 's/[[:space:]][[:space:]]*/,/g' \
        -e 's/[^A-Za-z0-9._=,+-]/_/g' <<<"$1"
}

# Refuses a file that holds no run, or the same run twice.
sweep_check() {
    local doubled line
    if [ ! -r "$1" ] || [ -z "$(sweep_lines "$1")" ]; then
        echo "$1: holds no runs; one run a line, such as: seed=0 training.n_critic=1" >&2
        return 2
    fi
    while IFS= read -r line; do
        if ! xargs printf '' <<<"$line" 2>/dev/null; then
            echo "$1: $line: a quote is not closed" >&2
            return 2
        fi
    done < <(sweep_lines "$1")
    doubled=$(sweep_lines "$1" | while IFS= read -r line; do sweep_name "$line"; done | sort | uniq -d)
    if [ -n "$doubled" ]; then
        echo "$1: two runs would be named ${doubled%%$'\n'*}" >&2
        return 2
    fi
}

# Sets `options` to the `--set` options of a line.
sweep_options() {
    local value
    options=()
    while IFS= read -r -d '' value; do
        options+=(--set "$value")
    done < <(xargs printf '%s\0' <<<"$1")
}

# Whether the run in a folder is finished.
sweep_finished() {
    grep -qs '"state": "finished"' "$1/status.json"
}
