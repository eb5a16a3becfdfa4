"""Whether the values of a frozen config are of its fields' types: config files come from people."""

import sys
from dataclasses import fields
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin

from leechcodec.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
_LISTS = {int: "whole numbers", float: "numbers", str: "file names"}


def check_types(config: "DataclassInstance") -> None:
    """Raises ConfigError, with the key, where a value of a config is not of its field's type.

    A whole number is a number, too; what is not finite is none. How many a list holds is for the config to say.
    """
    for field in fields(config):
        value = getattr(config, field.name)
        if not _fits(value, field.type):
            raise ConfigError(f"{field.name} must be {_kind_name(field.type)}, got {value!r}")


def _fits(value: object, kind: Any) -> bool:
    if isinstance(kind, UnionType):
        return any(_fits(value, each) for each in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(kind)[0]) for item in value)
    if kind in (int, float) and isinstance(value, bool):  # a bool is an int to Python
        return False
    if kind is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max  # not nan
    return isinstance(value, kind)


def _kind_name(kind: Any) -> str:
    if isinstance(kind, UnionType):
        return _kind_name(get_args(kind)[0])  # None cannot be written in a config
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return f"a list of {_LISTS.get(item) or f'lists of {_LISTS[get_args(item)[0]]}'}"
    return _KINDS.get(kind) or kind.__name__
