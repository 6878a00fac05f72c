"""Checks of a request to POST /v1/responses, with the errors of the real service. Each raises an ApiError 400."""

import re
from typing import Any

from devstack.openai import images
from devstack.openai.errors import invalid, missing, wrong_type

_TYPES: dict[str, tuple[Any, str]] = {  # parameter -> (types, their name in messages)
    "stream": (bool, "a boolean"),
    "store": (bool, "a boolean"),
    "instructions": ((str, list), "a string"),
    "metadata": (dict, "an object"),
    "temperature": ((int, float), "a decimal"),
    "top_p": ((int, float), "a decimal"),
    "max_output_tokens": (int, "an integer"),
    "parallel_tool_calls": (bool, "a boolean"),
    "previous_response_id": (str, "a string"),
    "reasoning": (dict, "an object"),
    "text": (dict, "an object"),
    "include": (list, "an array"),
    "tools": (list, "an array of objects"),
}
_ROLES = ("user", "assistant", "system", "developer")
_PARTS = ("input_text", "output_text", "refusal", "input_image", "input_file", "input_audio", "text", "summary_text")
_TOOLS = {
    "function",
    "custom",
    "file_search",
    "computer",
    "computer_use_preview",
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
    "mcp",
    "code_interpreter",
    "image_generation",
    "local_shell",
    "shell",
    "apply_patch",
    "namespace",
    "tool_search",
    "programmatic_tool_calling",
}
_FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


def check_parameters(body: dict[str, Any]) -> None:
    """Types and ranges of the top-level parameters."""
    check_types(body, _TYPES)
    limit = body.get("max_output_tokens")
    if limit is not None and limit < 16:
        raise invalid(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got "
            f"{limit} instead.",
            "max_output_tokens",
            "integer_below_min_value",
        )
    check_format((body.get("text") or {}).get("format"), "text.format.type", "text.format")


def check_types(body: dict[str, Any], expectations: dict[str, tuple[Any, str]]) -> None:
    """Types of the top-level parameters, and the range that both APIs have for `temperature`."""
    for name, (types, expected) in expectations.items():
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
            raise wrong_type(name, expected, value)
    if not 0 <= (body.get("temperature") or 0) <= 2:
        raise invalid(
            "Invalid 'temperature': expected a decimal between 0 and 2.", "temperature", "decimal_out_of_range"
        )


def check_format(form: Any, type_param: str, param: str) -> None:
    """The form of an answer. `type_param` and `param` are the paths of its type and of its other fields."""
    if form is None:
        return
    if not isinstance(form, dict) or form.get("type") not in ("text", "json_object", "json_schema"):
        raise invalid(
            f"Invalid value for '{type_param}'. Supported values are: 'json_object', 'json_schema', and 'text'.",
            type_param,
            "invalid_value",
        )
    if form["type"] == "json_schema":
        for name, kind in (("name", str), ("schema", dict)):
            if not isinstance(form.get(name), kind):
                raise missing(f"{param}.{name}")
        if form.get("strict"):
            _check_strict(f"response_format '{form['name']}'", form["schema"], f"{param}.schema", "invalid_json_schema")


def check_items(value: Any) -> list[dict[str, Any]]:
    """The input as a list of items; a plain string becomes one message of the user."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise wrong_type("input", "one of a string or array of input items", value)
    for at, item in enumerate(value):
        if not isinstance(item, dict):
            raise wrong_type(f"input[{at}]", "an input item", item)
        _check_item(item, f"input[{at}]")
    return value


def _check_item(item: dict[str, Any], where: str) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        if item.get("role") not in _ROLES:
            raise invalid(
                f"Invalid value: '{item.get('role')}'. Supported values are: 'assistant', 'system', "
                "'developer', and 'user'.",
                f"{where}.role",
                "invalid_value",
            )
        _check_content(item.get("content"), f"{where}.content")
    elif kind == "function_call":
        for name in ("call_id", "name", "arguments"):
            if not isinstance(item.get(name), str):
                raise missing(f"{where}.{name}")
    elif kind == "function_call_output":
        if not isinstance(item.get("call_id"), str):
            raise missing(f"{where}.call_id")
        _check_content(item.get("output"), f"{where}.output")
    elif not isinstance(kind, str):
        raise wrong_type(f"{where}.type", "a string", kind)


def _check_content(content: Any, where: str) -> None:
    if content is None:
        raise missing(where)
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise wrong_type(where, "one of an array of objects or string", content)
    for at, part in enumerate(content):
        if not isinstance(part, dict) or part.get("type") not in _PARTS:
            raise invalid(f"Invalid value for '{where}[{at}].type'.", f"{where}[{at}]", "invalid_value")
        if part["type"] == "input_image":
            images.check_part(part, f"{where}[{at}]")
        for name in ("text", "refusal"):
            if not isinstance(part.get(name, ""), str):
                raise wrong_type(f"{where}[{at}].{name}", "a string", part[name])


def check_calls(items: list[dict[str, Any]]) -> None:
    """Every function call needs its output in the input, and every output its call."""
    calls = {item["call_id"] for item in items if item.get("type") == "function_call"}
    outputs = {item["call_id"] for item in items if item.get("type") == "function_call_output"}
    for call_id in calls - outputs:
        raise invalid(f"No tool output found for function call {call_id}.", "input")
    for call_id in outputs - calls:
        raise invalid(f"No tool call found for function call output with call_id {call_id}.", "input")


def check_tools(tools: list[Any]) -> dict[str, dict[str, Any]]:
    """{name: tool} of the functions among the tools."""
    functions = {}
    for at, tool in enumerate(tools):
        where = f"tools[{at}]"
        if not isinstance(tool, dict):
            raise wrong_type(where, "an object", tool)
        if "type" not in tool:
            raise missing(f"{where}.type")
        if not isinstance(tool["type"], str) or tool["type"] not in _TOOLS:
            raise invalid(f"Invalid value: '{tool['type']}'.", f"{where}.type", "invalid_value")
        if tool["type"] == "function":
            functions[_function_name(tool, where)] = tool
    return functions


def _function_name(tool: dict[str, Any], where: str) -> str:
    name, parameters = tool.get("name"), tool.get("parameters")
    if name is None:
        raise missing(f"{where}.name")
    if not isinstance(name, str) or not _FUNCTION_NAME.fullmatch(name):
        raise invalid(
            f"Invalid '{where}.name': string does not match pattern. Expected a string that matches the "
            "pattern '^[a-zA-Z0-9_-]+$'.",
            f"{where}.name",
            "invalid_value",
        )
    if parameters is not None and not isinstance(parameters, dict):
        raise wrong_type(f"{where}.parameters", "an object", parameters)
    if tool.get("strict") and parameters is not None:
        _check_strict(f"function '{name}'", parameters, f"{where}.parameters", "invalid_function_parameters")
    return name


def _check_strict(name: str, parameters: dict[str, Any], where: str, code: str) -> None:
    problem = None
    if parameters.get("additionalProperties") is not False:
        problem = "'additionalProperties' is required to be supplied and to be false."
    elif not _requires_all(parameters.get("properties") or {}, parameters.get("required") or []):
        problem = "'required' is required to be supplied and to be an array including every key in properties."
    if problem:
        raise invalid(f"Invalid schema for {name}: In context=(), {problem}", where, code)


def _requires_all(properties: Any, required: Any) -> bool:
    return isinstance(properties, dict) and isinstance(required, list) and all(key in required for key in properties)


def check_tool_choice(choice: Any, functions: dict[str, dict[str, Any]]) -> None:
    """A tool_choice may only name a function that is among the tools."""
    if choice is None or choice in ("auto", "none", "required"):
        return
    if not isinstance(choice, dict) or not isinstance(choice.get("type"), str):
        raise invalid(
            "Invalid value for 'tool_choice'. Supported values are: 'none', 'auto', and 'required'.",
            "tool_choice",
            "invalid_value",
        )
    if choice["type"] == "function" and choice.get("name") not in functions:
        raise invalid(f"Tool choice '{choice.get('name')}' not found in 'tools' parameter.", "tool_choice")
