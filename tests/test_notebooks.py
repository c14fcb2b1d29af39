"""The example notebooks: complete, small, and run in real kernels."""

import ast
import base64
import importlib
import io
import re
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
run_notebooks = importlib.import_module("run_notebooks")
PATHS = sorted(run_notebooks.NOTEBOOKS.glob("*.ipynb"))
REPOSITORY = "https://github.com/keras-crosscbam/keras_crosscbam"
COLAB = "https://colab.research.google.com/github/keras-crosscbam/keras_crosscbam/blob/main"

every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def code_of(notebook):
    """The Python of the code cells, with IPython's commands as calls."""
    transform = TransformerManager().transform_cell
    return [transform(cell.source) for cell in notebook.cells if cell.cell_type == "code"]


def outputs_of(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def names_of_package(code):
    """The names of the package that code uses: `kc.flops.table`, and (module, name) of imports."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("keras_crosscbam"):
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute):
            attributes = [node.attr]
            while isinstance(node := node.value, ast.Attribute):
                attributes.insert(0, node.attr)
            if isinstance(node, ast.Name) and node.id == "kc":
                yield ("keras_crosscbam", ".".join(attributes))


def is_public(module, name):
    found = importlib.import_module(module)
    for part in name.split("."):
        if part.startswith("_") or not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def faults(notebook):
    """What a reader of the stored notebook would stumble over."""
    for output in outputs_of(notebook):
        text = output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        if output.output_type == "error":
            yield f"error: {output.ename}"
        if found := re.search(r"(/root|/home|/tmp|[A-Z]:\\)\S*|\S*Warning:.*|oneDNN|absl", text):
            yield found[0]
        if "image/png" in output.get("data", {}):
            yield "a picture in PNG"
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    yield from (f"not run: {cell.source}" for cell in cells if cell.execution_count is None)
    if not any("image/jpeg" in output.get("data", {}) for output in outputs_of(notebook)):
        yield "no picture"


def test_there_are_five():
    stems = {path.stem for path in PATHS}
    assert stems == {"augment", "export", "fine_tune", "look_inside", "predict"}


@every_notebook
def test_stored_notebook(path):
    """`python tools/run_notebooks.py` stores them like this."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert list(faults(notebook)) == []
    assert path.stat().st_size < 300_000
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


@every_notebook
def test_first_cells(path):
    """A title, what one learns, a badge that opens this notebook, and the installation."""
    first, second = nbformat.read(path, as_version=4).cells[:2]
    title, sentence, badge = first.source.split("\n\n")
    assert title.startswith("# ")
    assert re.fullmatch(r"Learn .*[^.]\.", sentence)
    assert badge.endswith(f"({COLAB}/{path.relative_to(ROOT)})")
    install = re.search(r"\[(.*)\] @ git\+(.*)\"", second.source)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(install[1].split(",")) <= set(project["optional-dependencies"])
    assert install[2] == REPOSITORY


@every_notebook
def test_code_uses_public_names(path):
    code = code_of(nbformat.read(path, as_version=4))
    names = {name for cell in code for name in names_of_package(cell)}
    assert len(names) > 3
    assert [name for name in names if not is_public(*name)] == []


@every_notebook
def test_links_lead_to_files(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    links = re.findall(rf"{REPOSITORY}/blob/main/([^)#\s]+)", text)
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_faults_are_found():
    new = nbformat.v4
    unknown = "import keras_crosscbam as kc\nkc.segmentt(1)\nkc.flops._count\nkc.flops.table"
    wrong = {name for name in names_of_package(unknown) if not is_public(*name)}
    assert {name for _, name in wrong} == {"segmentt", "flops._count"}
    cell = new.new_code_cell(
        "1 / 0",
        execution_count=1,
        outputs=[
            new.new_output("error", ename="ZeroDivisionError"),
            new.new_output("stream", name="stderr", text="/home/me/a.py:3: UserWarning: no"),
            new.new_output("display_data", {"image/png": "", "text/plain": "/tmp/a.png"}),
        ],
    )
    notebook = new.new_notebook(cells=[cell, new.new_code_cell("2")])
    assert list(faults(notebook)) == [
        "error: ZeroDivisionError",
        "/home/me/a.py:3:",
        "/tmp/a.png",
        "a picture in PNG",
        "not run: 2",
        "no picture",
    ]


def test_stored_outputs_are_compact():
    """Without TensorFlow's log lines and paths of the checkout, pictures as small JPEGs."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((1600, 400)).save(file, "png")
    png = base64.b64encode(file.getvalue()).decode()
    log = "WARNING: All log messages before absl::Init() ...\nI0000 00:00:1 a.cc:1] oneDNN\n"
    new = nbformat.v4
    cell = new.new_code_cell(
        outputs=[
            new.new_output("stream", name="stderr", text=log),
            new.new_output("stream", name="stderr", text=f"{log}{ROOT}/weights/m: loaded\n"),
            new.new_output("display_data", {"image/png": png, "image/jpeg": "large"}),
        ]
    )
    notebook = new.new_notebook(cells=[cell], metadata={"machine": "mine"})
    run_notebooks.compact(notebook)
    text, picture = cell.outputs
    assert text.text == "weights/m: loaded\n"
    assert list(picture.data) == ["image/jpeg"]
    with Image.open(io.BytesIO(base64.b64decode(picture.data["image/jpeg"]))) as image:
        assert image.size == (640, 160)
    assert "machine" not in notebook.metadata


@pytest.mark.slow
@every_notebook
def test_notebook_runs(path, tmp_path, monkeypatch):
    """In a kernel of its own, with the folder of the test as its working directory."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    folder = tmp_path / "work"
    folder.mkdir()
    notebook = run_notebooks.run(path, folder)
    run_notebooks.compact(notebook)
    assert list(faults(notebook)) == []
