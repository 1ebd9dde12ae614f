"""Reads strict YAML into plain containers, and keeps the line of each key.

A document is one mapping of plain values, with the words and numbers of YAML 1.2. Duplicate keys, aliases and objects
are refused.
"""

import re
from collections.abc import Sequence
from typing import Any

import yaml

from wgan_cli.errors import BadInputError

Key = tuple[str | int, ...]


class Document:
    """A YAML mapping as plain containers (`tree`), and the line of each key, so that messages can name it."""

    def __init__(self, source: str, text: str) -> None:
        self.source = source
        self.places: dict[Key, str] = {(): source}
        node = _compose(text, source)
        if node is None:
            raise BadInputError(f"{source}: is empty; `wgan configs mnist_gp` prints an example")
        if not isinstance(node, yaml.MappingNode):
            raise BadInputError(f"{source}: must be a mapping of keys to values, such as `seed: 0`")
        self.tree = self._plain(node, ())

    def _plain(self, node: yaml.Node, key: Key, place: str | None = None) -> Any:
        """The value of a node; adds every key below it to `self.places`."""
        self.places[key] = place or f"{self.source}:{node.start_mark.line + 1}"
        if node.tag.removeprefix(_TAG) not in ("map", "seq", *_SCALARS):
            raise BadInputError(f"{self.places[key]}: tags such as {node.tag} are not allowed; write a plain value")
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*key, i), place) for i, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return _scalar(node, self.places[key])
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            where = place or f"{self.source}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode):
                raise BadInputError(f"{where}: a key must be a plain word")
            name = key_node.value
            if name in result:
                raise BadInputError(f"{where}: {dotted((*key, name))}: is given twice; keep one of them")
            result[name] = self._plain(value_node, (*key, name), place)
            self.places[(*key, name)] = where
        return result

    def override(self, text: str) -> None:
        """Sets one dotted key, as in `training.iterations=10`. The value is YAML; a mapping replaces the old one."""
        name, equals, value = text.partition("=")
        place = f"--set {text if len(text) <= 80 else text[:77] + '...'}".replace("\n", " ")
        keys = tuple(name.strip().split("."))
        if not equals or not all(keys):
            raise BadInputError(f"{place}: must be KEY=VALUE, such as training.iterations=10")
        node = _compose(value, place)
        if node is None:
            raise BadInputError(f"{place}: has no value; write null to take a value away")
        branch = self._branch(keys, place)
        self._forget(keys)
        branch[keys[-1]] = self._plain(node, keys, place)

    def put(self, keys: tuple[str, ...], value: Any, place: str) -> None:
        """Sets one key to plain containers; `place` names where they are from."""
        branch = self._branch(keys, place)
        self._forget(keys)
        self.places[keys] = place
        branch[keys[-1]] = value

    def _forget(self, keys: Key) -> None:
        """Forgets the places of a key and of all below it: they are no longer in the file."""
        self.places = {key: where for key, where in self.places.items() if key[: len(keys)] != keys}

    def _branch(self, keys: tuple[str, ...], place: str) -> dict[str, Any]:
        """The mapping that holds the last of `keys`, made if it is missing."""
        branch: Any = self.tree
        for depth, key in enumerate(keys[:-1]):
            if isinstance(branch, dict) and key not in branch:
                branch[key] = {}
                self.places[keys[: depth + 1]] = place
            branch = branch[key]
            if not isinstance(branch, dict):
                raise BadInputError(f"{place}: {dotted(keys[: depth + 1])} is not a mapping, so it has no keys")
        return branch

    def located(self, key: Key, message: str, *, with_overrides: bool = False) -> str:
        """The `message` after the file, the line and the dotted name of its key.

        For a fault of a whole mapping, `with_overrides` names those of its keys too: one of them may be at fault.
        """
        known = key
        while known not in self.places:  # a missing key has the place of the mapping that should hold it
            known = known[:-1]
        place, below = self.places[known], [where for at, where in self.places.items() if at[: len(key)] == key]
        if with_overrides:
            place = " with ".join(dict.fromkeys([place, *(where for where in below if where.startswith("--set "))]))
        return f"{place}: {dotted(key) + ': ' if key else ''}{message}"


def dotted(key: Sequence[str | int]) -> str:
    """A key as users write it, such as `training.iterations`."""
    return ".".join(map(str, key))


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain scalars (`1e-4` is a number, `no` is a word), no aliases, no Python objects."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012  # PyYAML's own form

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases (*) are not allowed; write the value out", mark)
        return super().compose_node(parent, index)


_TAG = "tag:yaml.org,2002:"
for _name, _pattern, _first in (
    ("null", r"(~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("bool", r"(true|True|TRUE|false|False|FALSE)", list("tTfF")),
    ("int", r"[-+]?[0-9][0-9_]*", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))", list("-+.")),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^{_pattern}$"), _first)

_SCALARS: dict[str, Any] = {
    "str": str,
    "null": lambda text: None,
    "bool": lambda text: text.lower() == "true",
    "int": int,
    "float": lambda text: float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan")),
}


def _compose(text: str, source: str) -> yaml.Node | None:
    """The tree of YAML nodes, with their lines. No objects are built from it."""
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark and not source.startswith("--set") else source
        raise BadInputError(
            f"{where}: not valid YAML: {getattr(error, 'problem', None) or ' '.join(str(error).split())}"
        ) from error
    except RecursionError as error:
        raise BadInputError(f"{source}: not a config: it is nested too deep") from error


def _scalar(node: yaml.Node, where: str) -> Any:
    shown = node.value if len(node.value) <= 40 else f"{node.value[:37]}..."
    if "\0" in node.value:
        raise BadInputError(f"{where}: holds a zero byte, which no name or path can have")
    try:
        return _SCALARS[node.tag.removeprefix(_TAG)](node.value)
    except ValueError as error:
        fault = "has too many digits" if node.value.lstrip("+-").isdigit() else str(error)
        raise BadInputError(f"{where}: {shown}: {fault}") from error
