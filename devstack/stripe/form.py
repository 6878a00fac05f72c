"""Reading requests: form bodies with nested brackets, and their typed, checked parameters."""

import re
from collections.abc import Iterable
from typing import Any, overload
from urllib.parse import parse_qsl

from devstack.stripe.errors import malformed, missing

_BRACKETS = re.compile(r"\[([^\]]*)\]")
_INTEGER = re.compile(r"-?[0-9]{1,15}")
_METADATA_KEYS, _METADATA_KEY, _METADATA_VALUE = 50, 40, 500  # how many, and their lengths

Form = dict[str, Any]


def parse(text: str) -> Form:
    """{"items": {"0": {"price": "..."}}} of `items[0][price]=...`. Lists are read by `Params.rows` and `texts`."""
    tree: Form = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        parts = [name.partition("[")[0], *_BRACKETS.findall(name)]
        node = tree
        for part in parts[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise malformed(f"Invalid {name}: it has a value and parts.", name)
        node[parts[-1] or str(len(node))] = value  # name[]: the next place
    return tree


class Params:
    """The parameters of a request, or those below one of its names. An empty text means that a value is taken away."""

    def __init__(self, form: Form | None = None, path: str = "") -> None:
        self.form, self.path = form or {}, path

    def __contains__(self, name: str) -> bool:
        return name in self.form

    def name(self, name: str) -> str:
        """How an error names this parameter."""
        return f"{self.path}[{name}]" if self.path else name

    def only(self, names: Iterable[str]) -> None:
        """Refuse all other parameters."""
        for name in self.form:
            if name not in names:
                full = self.name(name)
                raise malformed(f"Received unknown parameter: {full}", full, "parameter_unknown")

    def cleared(self, name: str) -> bool:
        return self.form.get(name) == ""

    def text(self, name: str, default: str | None = None, longest: int = 5000) -> str | None:
        value = self.form.get(name, default)
        if value == "" or value is None:
            return None
        if not isinstance(value, str):
            raise malformed("Invalid string: {}", self.name(name), "parameter_invalid_string")
        if len(value) > longest:
            message = f"Invalid string: {value[:20]}...; must be at most {longest} characters"
            raise malformed(message, self.name(name), "parameter_invalid_string")
        return value

    def required(self, name: str) -> str:
        if name not in self.form:
            raise missing(self.name(name))
        value = self.text(name)
        if value is None:
            message = f"You passed an empty string for '{self.name(name)}'. We assume empty values are an attempt to unset a parameter; however '{self.name(name)}' cannot be unset. You should remove '{self.name(name)}' from your request or supply a non-empty value."
            raise malformed(message, self.name(name), "parameter_invalid_empty")
        return value

    @overload
    def number(self, name: str, default: int, least: int | None = None) -> int: ...

    @overload
    def number(self, name: str, default: None = None, least: int | None = None) -> int | None: ...

    def number(self, name: str, default: int | None = None, least: int | None = None) -> int | None:
        value = self.text(name)
        if value is None:
            return default
        if not _INTEGER.fullmatch(value):
            raise malformed(f"Invalid integer: {value}", self.name(name), "parameter_invalid_integer")
        number = int(value)
        if least is not None and number < least:
            raise malformed(
                f"This value must be greater than or equal to {least}.",
                self.name(name),
                "parameter_invalid_integer",
            )
        return number

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.text(name)
        if value is None:
            return default
        if value not in ("true", "false"):
            raise malformed(f"Invalid boolean: {value}", self.name(name))
        return value == "true"

    def choice(self, name: str, options: str, default: str | None = None) -> str | None:
        """One of these words, which spaces separate."""
        value = self.text(name, default)
        if value is not None and value not in (words := options.split()):
            listed = f"{', '.join(words[:-1])}, or {words[-1]}" if len(words) > 1 else words[0]
            raise malformed(f"Invalid {self.name(name)}: must be one of {listed}", self.name(name))
        return value

    def below(self, name: str) -> "Params":
        """The parameters under this name; none of them if it is absent or empty."""
        value = self.form.get(name) or {}
        if not isinstance(value, dict):
            raise malformed("Invalid object", self.name(name))
        return Params(value, self.name(name))

    def rows(self, name: str) -> list["Params"]:
        """The objects of a list."""
        return [self.below(name).below(key) for key in self._places(name)]

    def texts(self, name: str) -> list[str]:
        """The texts of a list."""
        below = self.below(name)
        return [below.required(key) for key in self._places(name)]

    def _places(self, name: str) -> list[str]:
        keys = list(self.below(name).form)
        if not all(key.isdecimal() for key in keys):
            raise malformed("Invalid array", self.name(name))
        return sorted(keys, key=int)

    def metadata(self, before: dict[str, str] | None = None) -> dict[str, str]:
        """The metadata after this request: named keys are set, or taken away by an empty value; "" takes all away."""
        result = dict(before or {})
        if self.cleared("metadata"):
            return {}
        for key, value in self.below("metadata").form.items():
            if not isinstance(value, str):
                raise malformed("Metadata values must be strings.", f"metadata[{key}]")
            if len(key) > _METADATA_KEY or len(value) > _METADATA_VALUE:
                raise malformed(
                    f"Metadata keys can have up to {_METADATA_KEY} characters, values up to {_METADATA_VALUE}.",
                    f"metadata[{key}]",
                )
            result[key] = value
        result = {key: value for key, value in result.items() if value != ""}
        if len(result) > _METADATA_KEYS:
            raise malformed(f"Metadata can have up to {_METADATA_KEYS} keys.", "metadata")
        return result
