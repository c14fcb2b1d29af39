"""The newest frame of a camera, whatever the time that each one takes."""

import threading


def newest(frames):
    """Yields the frames of a live source, but for those that go by while one is being used.

    A camera does not wait: frames that nobody takes would pile up, and what is shown would be ever
    further behind. Another thread reads them as they come and keeps the last one. The frame that
    the source ends with is yielded too.

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
