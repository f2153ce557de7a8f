"""Docstrings' roles and formulas, which are reStructuredText's, as HTML within Markdown; settings too."""

from __future__ import annotations

import re
from importlib import import_module
from inspect import cleandoc

import griffe
from latex2mathml.converter import convert

_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?([\w.]+)`")
_FORMULA = re.compile(r":math:`([^`]+)`")
_EXAMPLE = re.compile(r"(?:^ *>>> .*\n?(?:^ *\S.*\n?)*)+", re.MULTILINE)
_SETTINGS = "fastgan.training.setting"
_LOSSES = "fastgan.ops.loss_tables.with_table_of_losses"
_DISPLAYED = re.compile(r"^\.\. math:: (.+)$", re.MULTILINE)


class Docstrings(griffe.Extension):
    def on_class_instance(self, *, cls: griffe.Class, **_: object) -> None:
        """A docstring that a decorator completes is taken from the class as Python imports it."""
        decorators = [decorator.callable_path for decorator in cls.decorators]
        if f"{_SETTINGS}.documented" in decorators and cls.docstring is not None:
            cls.docstring.value = getattr(import_module(cls.module.path), cls.name).__doc__

    def on_function_instance(self, *, func: griffe.Function, **_: object) -> None:
        """The same for a function."""
        decorators = [decorator.callable_path for decorator in func.decorators]
        if _LOSSES in decorators and func.docstring is not None:
            func.docstring.value = cleandoc(getattr(import_module(func.module.path), func.name).__doc__)

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: object) -> None:
        """The signature shows the default of a setting without its metadata."""
        value = attr.value
        if isinstance(value, griffe.ExprCall) and value.canonical_path == f"{_SETTINGS}.setting":
            attr.value = value.arguments[0]

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
