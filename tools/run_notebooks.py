"""Runs the example notebooks and stores them with small outputs.

    $ python tools/run_notebooks.py                    # all notebooks
    $ python tools/run_notebooks.py predict export     # these two

Run this after each change of a notebook: the outputs are what readers see on GitHub.
"""

import argparse
import base64
import io
import os
import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "examples" / "notebooks"
WIDTH = 640
"""Width of the widest picture that is stored, in pixels."""

QUALITY = 65
"""JPEG quality of stored pictures."""

# TensorFlow prints these lines when it is imported, at every log level.
_LOG_LINE = re.compile(r"(WARNING: All log messages before absl|[IWE]\d{4} \d\d:\d\d).*\n?")


def run(path, folder, timeout=600):
    """Runs a notebook in a separate kernel with this interpreter.

    Args:
        path: path of the notebook, which is not changed.
        folder: the working directory of the kernel.
        timeout: maximum number of seconds for each cell.

    Returns:
        The `nbformat.NotebookNode` with the outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: for an error in a cell.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
    )
    client.execute(env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ})
    return notebook


def compact(notebook):
    """Removes log lines and facts about the machine, and makes pictures small, in place."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            if output.get("name") == "stderr":
                output.text = _LOG_LINE.sub("", output.text).replace(f"{ROOT}/", "")
        cell.outputs = [output for output in cell.outputs if output.get("text", True)]
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                data.pop("image/jpeg", None)
                data["image/jpeg"] = small_jpeg(data.pop("image/png"))


def small_jpeg(png):
    """Converts a picture to a small JPEG, both as base64 text."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        picture = image.convert("RGB")
    picture.thumbnail((WIDTH, picture.height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "jpeg", quality=QUALITY, optimize=True, progressive=True)
    return base64.b64encode(file.getvalue()).decode()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="names without .ipynb (default: all)")
    names = parser.parse_args().names or sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    for name in names:
        path = NOTEBOOKS / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as folder:
            notebook = run(path, folder)
        compact(notebook)
        nbformat.write(notebook, path)
        print(f"{name}: {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
