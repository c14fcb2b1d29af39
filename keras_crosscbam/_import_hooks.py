"""Context managers around the first import of a module."""

import contextlib
import importlib.util
import sys


def around_import(names, context):
    """Runs the first import of any of the modules inside a context manager.

        >>> import contextlib
        >>> from keras_crosscbam._import_hooks import around_import
        >>> @contextlib.contextmanager
        ... def report(name):
        ...     yield
        ...     print(name, "is imported")
        >>> around_import(["mailbox"], report)
        >>> import mailbox
        mailbox is imported

    Modules that the module itself imports are imported inside the context too. An import that fails
    is not counted as the first one.

    Args:
        names: full names of modules. Modules that are already imported are not affected.
        context: function that takes the name of the module and returns a context manager. It is
            entered before the module is executed and exited afterwards.
    """
    sys.meta_path.insert(0, _Finder(frozenset(names), context))


class _Finder:
    def __init__(self, names, context):
        self._names, self._context, self._in_progress = names, context, False

    def find_spec(self, name, path=None, target=None):
        if self._in_progress or name not in self._names:
            return None
        self._in_progress = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._in_progress = False
        if spec is not None and spec.loader is not None:
            self._wrap(spec.loader)
        return spec

    def _wrap(self, loader):
        execute = loader.exec_module

        def exec_module(module):
            loader.exec_module = execute
            self._in_progress = True
            try:
                with self._context(module.__name__):
                    execute(module)
            finally:
                self._in_progress = False
            with contextlib.suppress(ValueError):
                sys.meta_path.remove(self)

        loader.exec_module = exec_module
