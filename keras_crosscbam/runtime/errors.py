"""Error messages for exceptions that other libraries raise."""


def one_line(error):
    """Returns the message of an exception on one line, truncated to 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} ..."


def unreadable(path, kind, error):
    """Returns a `ValueError` for a file that cannot be read.

    Args:
        path: the file.
        kind: the expected kind of file, such as `"ONNX file"`.
        error: the library's exception.
    """
    return ValueError(
        f"{path}: not a readable {kind} ({one_line(error)}). If it was copied or downloaded, it "
        "may be incomplete: download or export it again."
    )
