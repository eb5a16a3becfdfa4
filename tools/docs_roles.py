"""mkdocs.yml's extension: docstrings' Sphinx roles, :func:`compress`, as plain code in Markdown."""

import re
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":\w+:`~?([^`]+)`")


class Roles(Extension):
    """Rewrites every docstring before it is rendered."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = ROLE.sub(r"`\1`", obj.docstring.value).replace("``", "`")
