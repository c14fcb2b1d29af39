"""A griffe extension for assigned docstrings, such as `STDC1.__doc__ = TEXT.format(...)`.

mkdocstrings reads sources without importing them, and ignores assigned docstrings. This extension
for `mkdocs.yml` evaluates the right side of the assignment and the definitions that it needs,
without importing the module, which would import Keras.
"""

import ast
import importlib
from pathlib import Path

import griffe


class Definitions(dict):
    """The names of a module, each evaluated from its statement at the first lookup."""

    def __init__(self, path):
        super().__init__(__builtins__=__builtins__, __name__=path.stem)
        self.statements = {}
        for statement in ast.parse(path.read_text("utf-8")).body:
            for name in _defined(statement):
                self.statements[name] = statement

    def __missing__(self, name):
        if name not in self.statements:
            raise KeyError(name)
        statement = self.statements[name]
        if isinstance(statement, ast.ImportFrom):
            return _imported(statement.module, name)
        exec(compile(ast.Module([statement], []), "<documentation>", "exec"), self)
        return self[name]


def _defined(statement):
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    if isinstance(statement, ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names]
    return [statement.name] if hasattr(statement, "name") else []


def _imported(module, name):
    """Returns the value of a name in another module of the package, or in a library."""
    path = Path(*module.split(".")).with_suffix(".py")
    if path.is_file():
        return Definitions(path)[name]
    return getattr(importlib.import_module(module), name)


class AssignedDocstrings(griffe.Extension):
    """Adds assigned docstrings to functions without a docstring."""

    def on_module_members(self, *, node, mod, agent, **_):
        if not isinstance(node, ast.Module):
            return
        for statement in node.body:
            match statement:
                case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=name), attr="__doc__")]):
                    expression = compile(ast.Expression(statement.value), str(mod.path), "eval")
                    text = eval(expression, Definitions(Path(mod.filepath)))
                    mod[name].docstring = griffe.Docstring(
                        text,
                        parent=mod[name],
                        parser=agent.docstring_parser,
                        parser_options=agent.docstring_options,
                    )
