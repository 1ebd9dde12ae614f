"""The faults of a config as messages for users: the place, the key, the mistake and the allowed values."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from wgan_cli.config.documents import Document, Key, dotted
from wgan_cli.errors import BadInputError
from wgan_cli.spec import LARGEST_INT, Choice


def raise_faults(document: Document, faults: Iterable[tuple[Key, str]]) -> None:
    """Raises `BadInputError` with one line per fault, if there are any."""
    lines = dict.fromkeys(document.located(key, message) for key, message in faults)
    if lines:
        raise BadInputError("\n".join(lines))


def explained(error: ValidationError, document: Document, model: type[BaseModel]) -> Iterator[tuple[Key, str]]:
    """The faults that pydantic found in `document` while it read it as `model`, each with its key."""
    found: dict[Key, list[str]] = {}
    for fault in error.errors():
        found.setdefault(_key(fault, document), []).append(_explain(fault, document, model))
    for key, messages in found.items():
        for message in _joined(messages):
            yield key, message


def _joined(messages: list[str]) -> list[str]:
    """The messages about one key; what each member of a union says of its value as one."""
    parts = [message.removeprefix("must ").rpartition(", but is ") for message in messages]
    if (
        len(messages) > 1
        and all(m.startswith("must ") for m in messages)
        and len({value for _, _, value in parts}) == 1
    ):
        wanted = " or ".join(dict.fromkeys(wanted for wanted, _, _ in parts)).replace(" or be ", " or ")
        return [f"must {wanted}, but is {parts[0][2]}"]
    return messages


def _key(fault: Mapping[str, Any], document: Document) -> Key:
    """The config key of a pydantic fault: its location, without the parts that only name a member of a union."""
    key: Key = ()
    branch: Any = document.tree
    for depth, part in enumerate(fault["loc"], 1):
        is_item = isinstance(branch, list) and isinstance(part, int) and part < len(branch)
        if is_item or (isinstance(branch, dict) and part in branch):
            key, branch = (*key, part), branch[part]
        elif fault["type"] == "missing" and isinstance(branch, dict) and depth == len(fault["loc"]):
            key = (*key, part)
    return (*key, "kind") if fault["type"] == "union_tag_invalid" else key


def _explain(fault: Mapping[str, Any], document: Document, model: type[BaseModel]) -> str:
    """The message for one pydantic fault: the mistake, the value that was given, and the allowed values."""
    kind, context, got = fault["type"], fault.get("ctx", {}), fault["input"]
    if kind == "value_error":
        return str(context["error"])
    if kind == "json_invalid":
        return "has nesting or characters that no config has"
    if kind == "missing":
        return f"must have more items, but is {_short(got)}" if isinstance(got, list) else "is missing"
    if kind == "extra_forbidden":
        return _explain_unknown_key(fault, document, model)
    if kind == "union_tag_not_found":
        return "kind is missing" + _suggest("", [_tag(option) for option in _options(model, fault["loc"])])
    if kind == "union_tag_invalid":
        return f"unknown: {_short(got['kind']).strip(chr(34))}" + _suggest(
            context["tag"], [_tag(option) for option in _options(model, fault["loc"])]
        )
    message = fault["msg"].replace("Input should be", "must be", 1)
    if kind in ("too_long", "too_short"):
        message = f"must have {context.get('max_length', context.get('min_length'))} items"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        message = "must be a mapping of keys to values"
    if kind in ("list_type", "tuple_type"):
        message = "must be a list" + (f", such as [{got}]" if type(got) is int else "")
    is_whole = kind == "int_type" and isinstance(got, float) and got.is_integer() and abs(got) <= LARGEST_INT
    hint = f"; write {got:.0f}" if is_whole else ""
    return f"{message}, but is {_short(got)}{hint}"


def _explain_unknown_key(fault: Mapping[str, Any], document: Document, model: type[BaseModel]) -> str:
    *above, word = _key(fault, document)
    holder = _options(model, fault["loc"][:-1])[0]
    elsewhere = [key for key in keys_called(str(word), model) if key != dotted((*above, word))]
    message = "unknown key" + _suggest(str(word), list(holder.model_fields), elsewhere)
    place = document.places.get((*above, "kind"), "")
    if issubclass(holder, Choice) and place.startswith("--set") and document.places.get(tuple(above)) != place:
        message += f" (to change a kind, replace the whole mapping: --set '{dotted(above)}={{kind: ...}}')"
    return message


def _short(value: Any) -> str:
    """A value as JSON, cut to 80 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def keys_called(word: str, model: type[BaseModel]) -> list[str]:
    """The dotted keys of values in specs of the class `model` that are `word`, or whose last part is; none if it is too
    common a word."""
    keys = dict.fromkeys(key for key in _keys(model) if word in (key, key.rpartition(".")[2]))
    return list(keys) if len(keys) <= 2 else []


def _keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        below = list(_classes(field.annotation))
        for part in below:
            yield from _keys(part, f"{above}{name}.")
        if not below:
            yield above + name


def _suggest(word: str, allowed: Sequence[str], elsewhere: Sequence[str] = ()) -> str:
    near = [*elsewhere, *difflib.get_close_matches(word, allowed, n=1)]
    meant = f"did you mean {' or '.join(near)}? A" if near else "a"
    return f"; {meant}llowed: {', '.join(allowed)}"


def _tag(option: type[BaseModel]) -> str:
    return str(option.model_fields["kind"].default)


def _options(model: type[BaseModel], location: Sequence[str | int]) -> list[type[BaseModel]]:
    """The config classes that are allowed at a pydantic location in `model`. A location names the members of unions."""
    options: list[type[BaseModel]] = [model]
    for part in location:
        members: list[type[BaseModel]] = [o for o in options if issubclass(o, Choice) and _tag(o) == part]
        options = members or list(_classes(options[0].model_fields[str(part)].annotation))
    return options


def _classes(annotation: Any) -> Iterator[type[BaseModel]]:
    """The config classes in an annotation, such as the members of an optional union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _classes(part)
