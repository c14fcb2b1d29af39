"""Progress of a video: frames, frames/s, time left."""

import sys
import time


class Progress:
    """Prints the progress of a video on standard error.

    A terminal shows one line that changes; a file gets a line every ten seconds.

    Args:
        seconds: how long the part of the video is that is to be done; None if nobody knows.
    """

    def __init__(self, seconds=None):
        self._seconds, self._terminal = seconds, sys.stderr.isatty()
        self._began = self._shown = time.monotonic()
        self._count = 0

    def update(self, position):
        """Counts a processed frame.

        Args:
            position: seconds of the requested part that are processed, in the time of the video.
        """
        self._count += 1
        now = time.monotonic()
        if now - self._shown < (0.2 if self._terminal else 10):
            return
        self._shown = now
        self._print(self._line(position, now - self._began), end="" if self._terminal else "\n")

    def close(self):
        """Prints the last line."""
        if self._count:
            self._print(self._line(None, time.monotonic() - self._began), end="\n")

    def _line(self, position, elapsed):
        text = f"{self._count} frames, {self._count / max(elapsed, 1e-9):.1f} frames/s"
        if position and self._seconds:
            left = elapsed * max(self._seconds - position, 0) / position
            text += f", {100 * min(position / self._seconds, 1):.0f} %, {duration(left)} left"
        return text

    def _print(self, line, end):
        start = "\r\x1b[K" if self._terminal else ""
        print(f"{start}{line}", end=end, file=sys.stderr, flush=True)


def duration(seconds):
    """Seconds as `m:ss` or `h:mm:ss`.

    >>> from keras_crosscbam.video.progress import duration
    >>> duration(75), duration(3725.4)
    ('1:15', '1:02:05')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
