"""Compares answers with what the SDK's classes say of them: each field there, of its type, and of the words it may be."""

import ast
import inspect
import sys
import typing
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib import import_module
from typing import Any, ForwardRef, Literal, get_args, get_origin

import stripe
from stripe._object_classes import OBJECT_CLASSES

_MISSING = object()
_BUILTIN = {"str": str, "int": int, "bool": bool, "float": float, "Decimal": Decimal}


def faults(value: dict[str, Any], path: str = "") -> list[str]:
    """What is wrong with a JSON object of the API; it says itself, by `object`, of which class it is."""
    kind = value.get("object", "")
    if kind == "list":
        return [fault for number, item in enumerate(value["data"]) for fault in faults(item, f"{path}[{number}]")]
    if value.get("deleted"):
        return []
    if kind not in OBJECT_CLASSES:
        return [f"{path}: the SDK has no {kind!r}"]
    module, name = OBJECT_CLASSES[kind]
    return _fields(value, getattr(import_module(module), name), path or kind)


def _fields(value: dict[str, Any], cls: type, path: str) -> list[str]:
    hints = {name: hint for name, hint in inspect.get_annotations(cls).items() if name != "OBJECT_NAME"}
    result = [
        fault
        for name, hint in hints.items()
        if not name.startswith("_")
        for fault in _check(value.get(name, _MISSING), hint, f"{path}.{name}", cls.__module__)
    ]
    return result + [f"{path}.{name}: the SDK does not know it" for name in value if name not in hints]


@cache
def _imports(module: str) -> dict[str, tuple[str, str]]:
    """What a module imports, also what only type checkers see: {name: (module, name there)}."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {
        alias.asname or alias.name: (str(node.module), alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _named(name: str, module: str) -> Any:
    if name in _BUILTIN:
        return _BUILTIN[name]
    if hasattr(sys.modules[module], name):
        return getattr(sys.modules[module], name)
    home, original = _imports(module)[name]
    return getattr(import_module(home), original)


def _check(value: Any, hint: Any, path: str, module: str) -> list[str]:
    if isinstance(hint, ForwardRef | str):
        text = hint.__forward_arg__ if isinstance(hint, ForwardRef) else hint
        hint = _named(text, module)
    if hint is Any:
        return []
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is typing.Union:
        return _one_of(value, arguments, path, module)
    if value is _MISSING:
        return [f"{path}: is missing"]
    if origin is Literal:
        return [] if value in arguments else [f"{path}: {value!r} is none of {arguments}"]
    if origin is list:
        if not isinstance(value, list):
            return [f"{path}: {value!r} is not a list"]
        pairs = enumerate(value)
        return [fault for number, item in pairs for fault in _check(item, arguments[0], f"{path}[{number}]", module)]
    if origin is not None:
        return _container(value, origin, arguments, path, module)
    return _plain(value, hint, path)


def _one_of(value: Any, arguments: tuple[Any, ...], path: str, module: str) -> list[str]:
    if type(None) in arguments and (value is None or value is _MISSING):
        return []
    words = any(get_origin(each) is Literal for each in arguments)
    # Union[Literal[...], str] means: these words today, others later. There are today's only.
    rest = [each for each in arguments if each is not type(None) and not (words and each is str)]
    attempts = [_check(value, each, path, module) for each in rest]
    return [] if [] in attempts else max(attempts, key=len)


def _container(value: Any, origin: Any, arguments: tuple[Any, ...], path: str, module: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: {value!r} is not an object"]
    if origin is stripe.ListObject:
        if missing := {"object", "data", "has_more", "url"} - set(value):
            return [f"{path}: a list without {missing}"]
        return [fault for item in value["data"] for fault in _check(item, arguments[0], f"{path}[]", module)]
    return [fault for key, item in value.items() for fault in _check(item, arguments[0], f"{path}.{key}", module)]


def _plain(value: Any, hint: Any, path: str) -> list[str]:
    if hint is Decimal:
        try:
            fits = isinstance(value, str) and Decimal(value).is_finite()
        except InvalidOperation:
            fits = False
        return [] if fits else [f"{path}: {value!r} is no decimal text"]
    if hint in (int, bool, str, float):
        fits = isinstance(value, int | float if hint is float else hint)
        return (
            [] if fits and (hint is bool) == isinstance(value, bool) else [f"{path}: {value!r} is not {hint.__name__}"]
        )
    if isinstance(hint, type) and issubclass(hint, stripe.StripeObject):
        return _fields(value, hint, path) if isinstance(value, dict) else [f"{path}: {value!r} is not an object"]
    raise AssertionError(f"{path}: what is {hint}?")
