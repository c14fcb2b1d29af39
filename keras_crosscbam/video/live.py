"""Skips frames of a live source that arrive during processing."""

import threading


def newest(frames):
    """Yields the newest frame of a live source and skips those that arrive during processing.

    Without skipping, a queue would grow and the output would be delayed more and more. Another
    thread reads the frames and keeps the last one. The last frame of the source is always yielded.

    Args:
        frames: an iterator; its error is raised after the frame before it.
    """
    changed = threading.Condition()
    state = {"frame": None, "ended": False, "error": None, "closed": False}

    def read():
        try:
            for frame in frames:
                with changed:
                    state["frame"] = frame
                    changed.notify_all()
                    if state["closed"]:
                        return
        except Exception as error:  # raised where the frames are used
            state["error"] = error
        finally:
            with changed:
                state["ended"] = True
                changed.notify_all()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: state["frame"] is not None or state["ended"])
                frame, state["frame"] = state["frame"], None
            if frame is None:
                break
            yield frame
        if state["error"] is not None:
            raise state["error"]
    finally:
        state["closed"] = True
        reader.join()
