"""Whatever runs exported files, as a program for an environment without Keras.

    python exported_files_program.py DATA OUT FILE...

DATA is a data set whose labels are those that the files' network gives. Prints JSON.
"""

import contextlib
import json
import sys
from pathlib import Path

import numpy as np

import keras_crosscbam as kc
from keras_crosscbam import cli


def main(data, out, *files):
    val = kc.datasets.load_dataset(data, "val")
    image, labels = val[0]
    findings = kc.doctor.inspect_dataset(data)
    said = {
        "doctor": [finding.message for finding in findings.findings],
        "files": {file.name: results(file, val) for file in files},
        "benchmark": benchmarked(files, val.pairs[0][0]),
        "overlay": kc.visualize.overlay(image, labels, val.classes, legend=False).size,
        "commands": commands(data, out, files[0]),
        "refused": refused(out),
    }
    said["imported"] = sorted({"keras", "tensorflow", "jax", "torch"} & set(sys.modules))
    print(json.dumps(said))


def results(file, val):
    run = kc.runtime.load(file)
    found = kc.segment(run, [image for image, _ in (val[i] for i in range(len(val)))])
    same = [np.array_equal(labels, val[i][1]) for i, labels in enumerate(found)]
    return {"same": all(same), "mean_iou": kc.evaluate(run, val)["mean_iou"]}


def benchmarked(files, image):
    report = kc.benchmark.benchmark(
        files, image=image, rounds=2, scopes="copies", turn_seconds=0.001
    )
    imported = set().union(*(facts["versions"] for facts in report.contenders.values()))
    return {"contenders": len(report.contenders), "keras": "keras" in imported}


def commands(data, out, model):
    calls = {
        "segment": [data / "images" / "val", "--out", out / "pictures"],
        "evaluate": ["--data", data, "--pictures", out / "frames"],
        "predict": ["--data", data, "--split", "val", "--out", out / "labels"],
    }
    status = {}
    with contextlib.redirect_stdout(sys.stderr):
        for name, call in calls.items():
            status[name] = cli.main([name, *map(str, call), "--model", str(model)])
        status["doctor"] = cli.main(["doctor", str(data)])
        status["list"] = cli.main(["list"])
    return status


def refused(out):
    """What is said of that which does need Keras."""
    (out / "m.keras").touch()
    (out / "m.engine").touch()
    calls = {
        "builder": lambda: kc.CrossCBAM_M(),
        "layers": lambda: kc.layers.CCBAM,
        "losses": lambda: kc.training.SegmentationOHEM,
        "export": lambda: kc.export.to_onnx,
        "flops": lambda: kc.flops.table,
        "batches": lambda: kc.datasets.training_batches,
        "keras file": lambda: kc.runtime.load(out / "m.keras"),
        "engine": lambda: kc.runtime.load(out / "m.engine"),
    }
    said = {}
    for name, call in calls.items():
        try:
            call()
        except (ImportError, ValueError, RuntimeError) as error:
            said[name] = str(error)
    return said


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
