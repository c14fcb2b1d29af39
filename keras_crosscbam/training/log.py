"""The table of a training, one line an epoch, in a CSV file."""

import csv
import io

from keras_crosscbam.training.files import replacing


class EpochLog:
    """Rows of numbers by epoch, kept in a CSV file that is replaced whole.

        >>> import tempfile
        >>> from pathlib import Path
        >>> from keras_crosscbam.training.log import EpochLog
        >>> log = EpochLog(Path(tempfile.mkdtemp()) / "log.csv")
        >>> log.add({"epoch": 1, "loss": 0.5})
        >>> log.rows
        [{'epoch': 1.0, 'loss': 0.5}]

    Keras' `CSVLogger` appends: a resumed run would leave epochs in it that are run again.

    Args:
        path: the file; read if it exists.
        epochs: rows of later epochs are dropped.
    """

    def __init__(self, path, epochs=None):
        self.path = path
        self.rows = []
        if path.exists():
            with path.open(newline="") as file:
                for row in csv.DictReader(file):
                    self.rows.append({name: float(value) for name, value in row.items() if value})
        if epochs is not None:
            self.rows = [row for row in self.rows if row["epoch"] <= epochs]

    def add(self, row):
        """Adds a row, a dict of numbers with an "epoch", and writes the file."""
        self.rows.append({name: float(value) for name, value in row.items()})
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows({name: f"{value:.7g}" for name, value in row.items()} for row in self.rows)
        with replacing(self.path) as unfinished:
            unfinished.write_text(text.getvalue())
