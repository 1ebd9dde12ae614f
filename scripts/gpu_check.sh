#!/usr/bin/env bash
# What only a GPU can show, in stages of at most 8 minutes, the most telling first:
#
#   bash scripts/gpu_check.sh exactness   # tests: graph and compiled engines against eager steps, and flat memory
#   bash scripts/gpu_check.sh resume      # tests: runs that go on bit for bit
#   bash scripts/gpu_check.sh speed       # the engines against the textbook loop, in bfloat16 and with TF32 too
#   bash scripts/gpu_check.sh sizes       # images/s and memory over batch sizes and widths
#   bash scripts/gpu_check.sh long        # up to 100,000 iterations by the graph engine, with their memory
#   bash scripts/gpu_check.sh all         # all of them, each with 8 minutes of its own
#
# A stage prints its table and appends each row to gpu_check.jsonl (or $GPU_CHECK_FILE) as it comes, so what is measured
# when the time is up stays measured. Exits with 1 if a part has failed or ran out of time.
#
# Runs from the source tree as it is: nothing is installed. It needs torch 2.11 or newer and the packages that
# pyproject.toml names, for an interpreter called python3 or $WGAN_PYTHON. Without a GPU it says so, and exits with 0.
set -uo pipefail
file=$(realpath "${GPU_CHECK_FILE:-gpu_check.jsonl}")
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
python=${WGAN_PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
stage=${1:-all} most=480 failed=0

# Runs a command in what is left of the stage's time; `SECONDS` counts from its start.
within() {
    local left=$((most - SECONDS))
    if ((left <= 0)); then
        echo "gpu_check.sh: $stage: out of time before: $*" >&2
        return 124
    fi
    timeout "$left" "$@"
}

# Rows from JSON objects on stdin, a line each: those named in $2... are printed, and all are kept. $1 names the part.
record() {
    "$python" -u -c '
import json, sys

file, stage, part, *columns = sys.argv[1:]
with open(file, "a", encoding="utf-8") as kept:
    for line in filter(lambda line: line.startswith("{"), sys.stdin):
        row = {"stage": stage, "part": part, **json.loads(line)}
        print(json.dumps(row), file=kept, flush=True)
        cells = (row.get(column, "") for column in columns)
        shown = (f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells)
        print("  ".join([f"{part:24}", *(f"{cell:>16}" for cell in shown)]), flush=True)
' "$file" "$stage" "$@"
}

heading() {
    printf '%-24s' "$stage" && printf '  %16s' "$@" && echo
}

# The tests marked `gpu` whose names match $1: one row each, as it ends.
tests() {
    heading outcome test
    within "$python" -u -m pytest -vv -m gpu -p no:cacheprovider -p no:xdist --tb=short tests/test_gpu.py -k "$1" |
        tee /dev/stderr |
        sed -unE 's/^tests\/test_gpu\.py::(.*) (PASSED|FAILED|ERROR|SKIPPED).*/{"outcome": "\2", "test": "\1"}/p' |
        record pytest outcome test || failed=1
}

# bench.py with the arguments after $1, which names the part; prints the columns of the array `columns`.
bench() {
    local part=$1
    shift
    within "$python" scripts/bench.py --synthetic --device cuda --json "$@" | record "$part" "${columns[@]}" || failed=1
}

speed() {
    columns=(case ratio ratio_least iterations_per_second images_per_second kernels_per_iteration peak_memory_mb
        tf32_convolutions textbook_tf32_convolutions)
    heading "${columns[@]}"
    bench graph --engine graph --pairs 3 --seconds 3 --case "mnist_gp conv" --case "mnist_gp mlp"
    bench eager --engine eager --pairs 1 --seconds 3 --case "mnist_gp conv" --case "mnist_gp mlp"
    bench "graph, bfloat16" --engine graph --precision bfloat16 --pairs 1 --seconds 3 --case "mnist_gp conv"
    bench "graph, TF32" --engine graph --set training.matmul=high --pairs 1 --seconds 3 --case "mnist_gp conv"
    bench compile --engine compile --pairs 1 --seconds 3 --case "mnist_gp conv"
    bench compiled_graph --engine compiled_graph --pairs 1 --seconds 3 --case "mnist_gp conv" --case "mnist_gp mlp"
    bench "graph, others" --engine graph --pairs 1 --seconds 3 --case "normal512_gp" --case "normal512_clip" \
        --case "mnist_clip conv" --case "mnist_clip mlp"
}

sizes() {
    columns=(batch_size critic_width images_per_second peak_memory_mb)
    heading "${columns[@]}"
    bench graph --engine graph --sizes --seconds 2
}

long() {
    heading iteration bytes_allocated seconds
    within "$python" -u - <<'PY' | record graph iteration bytes_allocated seconds || failed=1
import json
import time

import torch
from wgan_cli.config.load import load_config
from wgan_cli.training.trainer import Trainer

begun = time.perf_counter()
trainer = Trainer(load_config("normal512_gp", ["training.engine=graph"]), torch.device("cuda"))
for iteration in range(1, 100_001):
    trainer.iterate()
    if iteration in (100, 1_000, 10_000, 30_000, 100_000):
        torch.cuda.synchronize()
        bytes_allocated, seconds = torch.cuda.memory_allocated(), time.perf_counter() - begun
        row = {"iteration": iteration, "bytes_allocated": bytes_allocated, "seconds": seconds}
        print(json.dumps(row), flush=True)
PY
}

case $stage in
exactness | resume | speed | sizes | long | all) ;;
*)
    echo "gpu_check.sh: $stage: no such stage; use exactness, resume, speed, sizes, long or all" >&2
    exit 2
    ;;
esac
if ! "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    echo "gpu_check.sh: skipped: $python has no torch that sees a CUDA device"
    exit 0
fi
missing=$("$python" - <<'PY'
from importlib.util import find_spec
needed = "filelock matplotlib numpy PIL ot platformdirs pydantic yaml tensorboard torchvision tqdm typer pytest hypothesis scipy"
print(*(name for name in needed.split() if find_spec(name) is None))
PY
)
if [ -n "$missing" ]; then
    echo "gpu_check.sh: $python lacks $missing; put them into a folder on PYTHONPATH (pip install --target)" >&2
    exit 1
fi
if [ "$stage" = all ]; then
    for each in exactness resume speed sizes long; do
        GPU_CHECK_FILE=$file bash scripts/gpu_check.sh "$each" || failed=1
    done
    exit "$failed"
fi

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
SECONDS=0
case $stage in
exactness) tests "not goes_on" ;;
resume) tests "goes_on" ;;
speed) speed ;;
sizes) sizes ;;
long) long ;;
esac
exit "$failed"
