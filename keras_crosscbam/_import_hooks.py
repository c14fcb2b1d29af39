"""Something to do around the first import of a module, whoever imports it."""

import contextlib
import importlib.util
import sys


def around_import(names, context):
    """Runs the first import of any of the modules inside a context manager.

        >>> import contextlib
        >>> from keras_crosscbam._import_hooks import around_import
        >>> @contextlib.contextmanager
        ... def told(name):
        ...     yield
        ...     print(name, "is imported")
        >>> around_import(["mailbox"], told)
        >>> import mailbox
        mailbox is imported

    What the module itself imports is inside the context too. An import that fails does not count:
    the next one is the first again.

    Args:
        names: full names of modules. Those that are imported already are not imported again.
        context: a function of the name that returns a context manager. It is entered before the
            module is executed, and left after that.
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
