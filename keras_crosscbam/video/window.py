"""A window that shows frames."""

from PIL import Image


class Window:
    """A window on the screen, using tkinter.

    Args:
        title: title of the window.

    Attributes:
        is_open: False once the user has closed it.

    Raises:
        ValueError: if there is no display.
        ImportError: if Python has no tkinter.
    """

    def __init__(self, title):
        try:
            import tkinter

            from PIL import ImageTk
        except ImportError as error:
            raise ImportError(
                "A window needs tkinter, which this Python does not have (on Debian and Ubuntu: "
                "`apt install python3-tk python3-pil.imagetk`)."
            ) from error
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise ValueError(f"There is no display to show a window on ({error}).") from error
        self._root.title(title)
        self._label = tkinter.Label(self._root)
        self._label.pack()
        self._photo, self._make = None, ImageTk.PhotoImage
        self.is_open = True
        self._root.protocol("WM_DELETE_WINDOW", self.close)

    def show(self, array):
        """Shows uint8 RGB `(height, width, 3)`; from the thread that made the window."""
        if not self.is_open:
            return
        self._photo = self._make(Image.fromarray(array), master=self._root)
        self._label.configure(image=self._photo)
        self._root.update()

    def close(self):
        """Closes the window."""
        if self.is_open:
            self.is_open = False
            self._root.destroy()
