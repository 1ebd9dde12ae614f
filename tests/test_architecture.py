"""The order of the rooms: each imports only those that stand above it. Imports inside functions count too."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import wgan_cli

ROOMS = """spec errors paths streams files devices bars figure_names transport lipschitz networks objectives optimizers
data conditions config measures plots trackers runs training sampling evaluation export search
commands cli""".split()  # noqa: SIM905
PACKAGE = Path(wgan_cli.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports(module: str) -> set[str]:
    """The full names that the file of `module` imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    sources = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return names | {f"{'.' * node.level}{node.module or ''}.{alias.name}" for node in sources for alias in node.names}


def own_imports(module: str) -> set[str]:
    """The modules of the package that `module` imports, except the package itself for its version."""
    names = {name for name in imports(module) - {"wgan_cli.__version__"} if name.startswith((".", "wgan_cli"))}
    return {name if name in MODULES else name.rpartition(".")[0] for name in names}


def room_of(module: str) -> str:
    """The name in `ROOMS`; another one for imports that name no room (`import wgan_cli`, `from . import`)."""
    return module.split(".")[1] if module.startswith("wgan_cli.") else module


@pytest.mark.parametrize("module", [name for name in MODULES if name not in ("wgan_cli", "wgan_cli.__main__")])
def test_a_room_imports_only_rooms_above_it(module: str) -> None:
    allowed = ROOMS[: ROOMS.index(room_of(module)) + 1]
    assert [name for name in sorted(own_imports(module)) if room_of(name) not in allowed] == []


def test_no_imports_go_in_a_circle() -> None:
    modules = {module: own_imports(module) for module in MODULES if module != "wgan_cli"}
    assert modules.keys() <= set(TopologicalSorter(modules).static_order())  # which raises for a circle


@pytest.mark.parametrize(("library", "rooms"), [("matplotlib", {"plots"}), ("typer", {"commands", "cli"})])
def test_only_their_own_rooms_import_large_libraries(library: str, rooms: set[str]) -> None:
    importing = [module for module in MODULES if library in {name.split(".")[0] for name in imports(module)}]
    assert {room_of(module) for module in importing} == rooms
