"""The documentation site: navigation, links, and figures that match the code.

`make docs` builds it with every warning as an error, which checks links within pages as well.
"""

import importlib
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
sys.path.insert(0, str(ROOT / "tools"))
draw_architecture = importlib.import_module("draw_architecture")
plot_models = importlib.import_module("plot_models")


def pages_of(nav):
    """The files that an entry of `nav` in mkdocs.yml names, at any depth."""
    if isinstance(nav, str):
        return [nav]
    entries = nav.values() if isinstance(nav, dict) else nav
    return [page for entry in entries for page in pages_of(entry)]


def test_every_page_is_in_the_navigation_once():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    assert sorted(pages_of(nav)) == [str(page.relative_to(DOCS)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
    relative = [target for target in targets if "://" not in target]
    assert [target for target in relative if not (page.parent / target).is_file()] == []


def test_drawings_are_those_of_the_built_model():
    """`python tools/draw_architecture.py` writes them again."""
    for name, svg in draw_architecture.figures().items():
        assert (DOCS / "figures" / name).read_text("utf-8") == svg, name


def test_plot_is_that_of_the_manifest_and_the_reports():
    """`python tools/plot_models.py` writes it again."""
    assert plot_models.PLOT.read_text("utf-8") == plot_models.figure()


def test_plot_moves_with_its_figures():
    manifest = {
        "weights": [
            {"name": "camvid", "architecture": "cross_cbam_stdc1", "test_mean_iou": 0.62},
            {"name": "camvid", "architecture": "cross_cbam_stdc2", "test_mean_iou": None},
            {"name": "imagenet20", "architecture": "stdc1"},
        ]
    }
    assert plot_models.test_accuracy(manifest) == {"M": 62.0}
    ratio = {"median": 0.5, "low": 0.4, "high": 0.6}
    report = {
        "results": [
            {"scope": "network", "contender": "openvino:x/cross-cbam-m.onnx", "ratio": ratio},
            {"scope": "copies", "contender": "openvino:x/cross-cbam-m.onnx", "ratio": {}},
            {"scope": "network", "contender": "openvino:x/stdc1-seg.onnx", "ratio": {}},
        ]
    }
    assert plot_models.ratios(report) == {"M": ratio}
    faster = {"results": [{**report["results"][0], "ratio": {**ratio, "median": 0.45}}]}
    plots = {plot_models.plot(manifest, {"OpenVINO": r}) for r in (report, faster)}
    assert len(plots) == 2


def test_reference_has_docstrings_that_are_assigned(tmp_path, monkeypatch):
    """Computed from the sources: the module raises an error when it is imported."""
    griffe = pytest.importorskip("griffe")
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "assigned"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "sizes.py").write_text("SIZES = {'a': 512}\n")
    (package / "builders.py").write_text(
        "import a_library_that_is_not_installed\n"
        "from assigned.sizes import SIZES\n"
        "TEXT = 'At {size}.'\n"
        "def _docstring(name):\n    return TEXT.format(size=SIZES[name])\n"
        "def build():\n    pass\n"
        "build.__doc__ = _docstring('a')\n"
    )
    extensions = griffe.load_extensions(str(ROOT / "tools" / "assigned_docstrings.py"))
    loaded = griffe.load(
        "assigned", search_paths=[tmp_path], extensions=extensions, allow_inspection=False
    )
    assert loaded["builders.build"].docstring.value == "At 512."
