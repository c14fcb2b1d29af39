"""Lazy import of the names of a package, at their first use (PEP 562)."""

import importlib
import sys


def lazy_names(package, names, modules):
    """Returns the functions `__getattr__` and `__dir__` for a package.

        >>> from keras_crosscbam._lazy import lazy_names
        >>> __getattr__, __dir__ = lazy_names("json", ["JSONDecoder"], {"JSONDecoder": "decoder"})
        >>> __getattr__("JSONDecoder").__name__
        'JSONDecoder'

    Args:
        package: `__name__` of the package, which has an `__all__`.
        names: the names to import lazily.
        modules: dict from a name to the module of the package that defines it. A name that is not a
            key is itself a module of the package.

    Returns:
        The two functions. `__getattr__` imports the module of a name and stores the value in the
        package. `__dir__` lists the package's `__all__`.
    """

    def __getattr__(name):  # noqa: N807
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = importlib.import_module(f"{package}.{modules.get(name, name)}")
        if name in modules:
            value = getattr(value, name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__():  # noqa: N807
        return sorted(sys.modules[package].__all__)

    return __getattr__, __dir__
