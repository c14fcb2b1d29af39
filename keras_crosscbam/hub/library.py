"""Imports huggingface_hub, and turns its exceptions into sentences."""

from __future__ import annotations

import importlib
from contextlib import contextmanager


def huggingface_hub():
    """Returns the library of the Hugging Face Hub, or says how to install it."""
    try:
        return importlib.import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        raise ImportError(
            "Models on the Hugging Face Hub need huggingface_hub, which is not installed. Run "
            "`pip install keras-crosscbam[hub]`.",
            name="huggingface_hub",
        ) from error


class NotOnHubError(ValueError):
    """Raised for a file that is not in a repository."""


@contextmanager
def explained(address):
    """Returns a context in which an exception of huggingface_hub becomes a `ValueError`.

    Args:
        address: the `Address` that is used, for the message.
    """
    errors = importlib.import_module("huggingface_hub.errors")
    try:
        yield
    except errors.GatedRepoError as error:
        raise ValueError(
            f"{address}: the repository asks for permission. Request it on its page, and log in "
            "with `hf auth login`."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(
            f"{address}: there is no such repository on the Hugging Face Hub, or it is private. "
            "For a private one, log in with `hf auth login`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(f"{address}: the repository has no such revision") from error
    except errors.LocalEntryNotFoundError as error:
        raise ValueError(
            f"{address}: the Hugging Face Hub cannot be reached, and the file is not in the cache "
            "of earlier downloads"
        ) from error
    except errors.EntryNotFoundError as error:
        raise NotOnHubError(f"{address}: the repository has no such file") from error
    except errors.HFValidationError as error:
        raise ValueError(f"{address}: not a name of a repository ({_first_line(error)})") from error
    except Exception as error:  # such as exceptions of its HTTP library
        raise ValueError(
            f"{address}: the Hugging Face Hub could not be used ({_first_line(error)})"
        ) from error


def _first_line(error):
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
