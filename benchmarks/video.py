"""Frames/s of `segment_video`, beside those of the network alone.

$ python benchmarks/video.py m.onnx drive.mp4 --threads 2
"""

import argparse
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import keras_crosscbam as kc
from keras_crosscbam.video.sources import open_source


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a file that keras_crosscbam.runtime.load takes")
    parser.add_argument("video", help="the video file")
    parser.add_argument("--threads", type=int, help="of the network (default: all cores)")
    parser.add_argument("--frames", type=int, default=20, help="frames of a round (default: 20)")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    run = kc.runtime.load(args.model, threads=args.threads)
    frames = [frame.image for frame in islice(open_source(args.video).frames(), args.frames)]
    prepared = [run.prepare(run.resized(frame)) for frame in frames]
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.rounds + 1):
            alone = len(frames) / seconds(lambda: [run.run(array) for array in prepared])
            whole = whole_rate(run, args.video, len(frames), Path(folder))
            ratios.append(whole / alone)
            print(f"network {alone:.2f} frames/s, whole {whole:.2f} frames/s, {ratios[-1]:.3f}")
    print(f"median of the rounds after the first: {statistics.median(ratios[1:]):.3f}")


def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def whole_rate(run, video, count, folder):
    """Frames/s from the first frame to the last, with the overlay and the shares written."""
    frames = kc.segment_video(run, video, folder / "out.mp4", shares=folder / "out.csv")
    next(frames)
    rate = (count - 1) / seconds(lambda: list(islice(frames, count - 1)))
    frames.close()
    return rate


if __name__ == "__main__":
    main()
