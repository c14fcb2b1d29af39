"""Addresses of repositories and files on the Hugging Face Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX = "hf://"
_REPO = r"[\w-][\w.-]*/[\w-][\w.-]*"
_ADDRESS = re.compile(rf"{PREFIX}({_REPO})(?:@(refs/pr/\d+|[^/@]+))?(?:/(.+))?", re.ASCII)


@dataclass(frozen=True)
class Address:
    """The address of a repository, or of a file or folder in it.

        >>> from keras_crosscbam.hub.address import Address
        >>> Address.parse("hf://user/name@v1/m.onnx")
        Address(repo='user/name', revision='v1', file='m.onnx')
        >>> str(Address("user/name"))
        'hf://user/name'

    Attributes:
        repo: `"user/name"`.
        revision: branch, tag or commit; None for the default branch.
        file: path in the repository, or None.
    """

    repo: str
    revision: str | None = None
    file: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Returns the address in a text; raises a `ValueError` for another text."""
        match = _ADDRESS.fullmatch(text)
        if match is None or not is_plain(match[3] or "file"):
            raise ValueError(
                f"An address on the Hub is hf://USER/NAME, hf://USER/NAME/FILE or "
                f"hf://USER/NAME@REVISION/FILE. Received: {text!r}"
            )
        return cls(*match.groups())

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.repo}{revision}{f'/{self.file}' if self.file else ''}"


def is_address(text: object) -> bool:
    """Returns whether a text is an address on the Hub."""
    return isinstance(text, str) and text.startswith(PREFIX)


def check_repo(repo: str) -> None:
    """Raises a `ValueError` for a name of a repository that is not `user/name`."""
    if not re.fullmatch(_REPO, repo, re.ASCII):
        raise ValueError(f"A repository on the Hub is USER/NAME. Received: {repo!r}")


def is_plain(path: str) -> bool:
    """Returns whether a path in a repository stays in it: without `..` and the like."""
    return "\\" not in path and not {"", ".", ".."} & set(path.split("/"))
