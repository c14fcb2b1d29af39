"""Writes a model card for each entry of the weights manifest.

    $ python tools/model_cards.py

All figures in `docs/models/*.md` come from `weights/manifest.json`.
"""

from pathlib import Path

import keras_crosscbam as kc
from keras_crosscbam.model_card import card

FOLDER = Path(__file__).parents[1] / "docs" / "models"


def cards():
    """Returns a dict from file name to card."""
    return {
        f"{name}-{entry['architecture']}.md": card(entry)
        for name, entries in kc.list_weights().items()
        for entry in entries
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in cards().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)
