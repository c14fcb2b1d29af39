"""What is said where a library fails on a file."""


def one_line(error):
    """The message of a library's exception, without line breaks and shortened to 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} ..."


def unreadable(path, kind, error):
    """A `ValueError` that names a file which is not what it should be.

    Args:
        path: the file.
        kind: what it should have been, such as `"ONNX file"`.
        error: the library's exception.
    """
    return ValueError(
        f"{path}: not a readable {kind} ({one_line(error)}). If it was copied or downloaded, it "
        "may be cut off: fetch or export it again."
    )
