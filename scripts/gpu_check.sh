#!/usr/bin/env bash
# Everything that only a GPU can show, in one go: the tests marked `gpu` (graph and compiled engines against eager steps,
# runs that go on bit for bit, flat memory), then the engines side by side against the textbook loop.
#
#   bash scripts/gpu_check.sh            # some 10 minutes
#   bash scripts/gpu_check.sh --long     # and 100,000 iterations by the graph engine, with its memory before and after
#
# Runs from the source tree as it is: nothing is installed. It needs torch 2.11 or newer and the packages that
# pyproject.toml names, for an interpreter called python3 or $WGAN_PYTHON. Without a GPU it says so, and exits with 0.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
python=${WGAN_PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

if ! "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    echo "gpu_check.sh: skipped: $python has no torch that sees a CUDA device"
    exit 0
fi
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
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

failed=0
"$python" -m pytest -m gpu -p no:cacheprovider tests || failed=1
for engine in eager compile graph; do
    echo "== engine $engine"
    "$python" scripts/bench.py --synthetic --device cuda --engine "$engine" --pairs 3 --seconds 3 || failed=1
done
echo "== engine graph, bfloat16, and float32 with TF32"
"$python" scripts/bench.py --synthetic --device cuda --engine graph --precision bfloat16 --pairs 3 --seconds 3 \
    --case "mnist_gp conv" || failed=1
"$python" scripts/bench.py --synthetic --device cuda --engine graph --set training.matmul=high --pairs 3 --seconds 3 \
    --case "mnist_gp conv" || failed=1
echo "== sizes"
"$python" scripts/bench.py --synthetic --device cuda --sizes --seconds 2 || failed=1
if [ "${1:-}" = --long ]; then
    echo "== 100,000 iterations"
    "$python" - <<'PY' || failed=1
import torch
from wgan_cli.config.load import load_config
from wgan_cli.training.trainer import Trainer

trainer = Trainer(load_config("normal512_gp", ["training.engine=graph"]), torch.device("cuda"))
for iteration in range(1, 100_001):
    trainer.iterate()
    if iteration in (100, 10_000, 100_000):
        torch.cuda.synchronize()
        print(f"iteration {iteration:,}: {torch.cuda.memory_allocated():,} bytes allocated", flush=True)
PY
fi
exit "$failed"
