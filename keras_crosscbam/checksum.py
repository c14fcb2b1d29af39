"""SHA-256 of files."""

import hashlib


def file_sha256(path):
    """Returns the SHA-256 of a file as a hexadecimal string."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
