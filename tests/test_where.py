"""The parts of an iteration's time: what they count is what was done."""

import importlib
import sys
from collections.abc import Callable

import pytest
import torch

from tests.test_scripts import SCRIPTS
from tests.training.helpers import CPU, quick
from wgan_cli.training.trainer import Trainer

sys.path.insert(0, str(SCRIPTS))  # `where` imports `bench`
where = importlib.import_module("where")
sys.path.remove(str(SCRIPTS))


def test_products_bytes_and_operations_are_counted() -> None:
    x, y = torch.ones(4, 8), torch.ones(8, 2)
    with where.Recorded() as recorded:
        x @ y
        x @ y
        y.T @ x.T  # another shape: a product of its own
        x.view(8, 4)  # no bytes move
        x + 1
        torch._foreach_add_([x], 1)  # an optimizer's
    assert sorted(recorded.counts.values()) == [1, 2]
    assert recorded.moved == 2 * x.numel() * 4
    assert recorded.operations == 3 + 2 + 1 + 1  # products, transposes, view, sum
    assert all(call().numel() == 8 for call in recorded.products.values())
    assert all(0 < where.seconds(call, 1e-4) < 1 for call in recorded.products.values())


def test_the_parts_and_the_rest_are_the_whole_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    def once(call: Callable[[], object]) -> float:
        call()
        return 1e-4

    monkeypatch.setattr(where, "seconds", once)
    monkeypatch.setattr(where, "rate", lambda step, device, seconds: 2.0)
    trainer = Trainer(quick("normal512_gp"), CPU)
    found, operations = where.parts(trainer)
    with torch.profiler.profile() as profiled:
        trainer.iterate()
    products = sum(event.count for event in profiled.key_averages() if event.key in ("aten::mm", "aten::addmm"))
    assert found["products"] == pytest.approx(1e-4 * products)
    assert found["dispatch"] == pytest.approx(1e-4 * operations)
    cells = where.row("normal512_clip", ["training.batch_size=4"]).split("|")[1:-1]
    total, *parts, count = (float(cell.split()[0]) for cell in cells[1:])
    assert total == 500
    assert sum(parts) == pytest.approx(total, abs=0.03)
    assert count > 100
