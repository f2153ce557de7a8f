"""Docstrings' roles and formulas, which are reStructuredText's, as HTML within Markdown."""

from __future__ import annotations

import re

import griffe
from latex2mathml.converter import convert

_ROLE = re.compile(r":(?:class|func|meth|mod):`~?([\w.]+)`")
_FORMULA = re.compile(r":math:`([^`]+)`")
_EXAMPLE = re.compile(r"(?:^ *>>> .*\n?(?:^ *\S.*\n?)*)+", re.MULTILINE)
_DISPLAYED = re.compile(r"^\.\. math:: (.+)$", re.MULTILINE)


class Docstrings(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        if obj.docstring is not None:
            text, module = obj.docstring.value, obj.module.path
            text = _DISPLAYED.sub(lambda formula: convert(formula[1], display="block"), text)
            text = _FORMULA.sub(lambda formula: convert(" ".join(formula[1].split())), text)
            text = _EXAMPLE.sub(_fenced, text)
            obj.docstring.value = _ROLE.sub(lambda role: _link(role[1], module), text)


def _link(name: str, module: str) -> str:
    """To where the API's pages have it; a name that they do not have stays without a link."""
    function = re.fullmatch(r"fastgan\.(\w+)", name)  # an operation, in the file of its name
    path = f"fastgan.ops.{function[1]}.{function[1]}" if function else name
    path = path if path.startswith("fastgan.") else f"{module}.{path}"
    return f'<autoref identifier="{path}" optional><code>{name}</code></autoref>'


def _fenced(example: re.Match[str]) -> str:
    indent = " " * example[0].index(">>>")
    return f"{indent}```pycon\n{example[0].rstrip()}\n{indent}```\n"
