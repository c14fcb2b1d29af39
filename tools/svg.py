"""Writes SVG figures with boxes, arrows and text for the documentation.

    >>> drawing = Drawing(200, 80, "One box")
    >>> drawing.box(10, 10, 80, 40, ["Input"], "neutral")
    >>> drawing.text(100, 70, "a caption")
    >>> drawing.svg().startswith("<svg")
    True

A drawing has a white background, so it is readable on light and on dark pages. Lengths are in
pixels, and the y axis points down.
"""

from html import escape

FILL_AND_STROKE = {
    "neutral": ("#f1f5f9", "#475569"),
    "encoder": ("#dbeafe", "#1d4ed8"),
    "context": ("#fef3c7", "#b45309"),
    "attention": ("#ffe4e6", "#be123c"),
    "decoder": ("#dcfce7", "#15803d"),
}
TEXT, LINE = "#0f172a", "#334155"
LINE_HEIGHT = 15


class Drawing:
    """An SVG drawing.

    Args:
        width, height: size of the drawing.
        title: description of the drawing, for screen readers.
    """

    def __init__(self, width, height, title):
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" '
            'font-family="Helvetica, Arial, sans-serif" font-size="12">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
            f'markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{LINE}"/></marker>'
            "</defs>",
            f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" '
            'fill="#ffffff" stroke="#cbd5e1"/>',
        ]

    def box(self, x, y, width, height, lines, kind, dashed=False):
        """Draws a rectangle with centered lines of text, the first line in bold."""
        fill, stroke = FILL_AND_STROKE[kind]
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" '
            f'fill="{fill}" stroke="{stroke}"{_dashes(dashed)}/>'
        )
        first = y + height / 2 - LINE_HEIGHT * (len(lines) - 1) / 2 + 4
        for number, line in enumerate(lines):
            self.text(x + width / 2, first + LINE_HEIGHT * number, line, "middle", bold=number == 0)

    def circle(self, x, y, symbol, radius=11):
        """Draws an operation with two inputs, such as a sum."""
        self._parts.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="{radius}" fill="#ffffff" stroke="{LINE}"/>'
        )
        self.text(x, y + 5, symbol, "middle", size=15)

    def dot(self, x, y, color, radius=4, hollow=False):
        """Draws a small circle, filled with the color or with white."""
        paint = f'fill="#ffffff" stroke="{color}" stroke-width="2"' if hollow else f'fill="{color}"'
        self._parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" {paint}/>')

    def arrow(self, *points, dashed=False):
        """Draws a line through `(x, y)` points with an arrow head at its end."""
        self.line(*points, dashed=dashed, extra=' marker-end="url(#arrow)"')

    def line(self, *points, color=LINE, width=1.3, dashed=False, extra=""):
        """Draws a line through `(x, y)` points."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" '
            f'stroke-width="{width:g}"{_dashes(dashed)}{extra}/>'
        )

    def text(self, x, y, text, anchor="start", bold=False, size=12, color=TEXT, rotated=False):
        """Draws a line of text with its baseline at `y`."""
        weight = ' font-weight="bold"' if bold else ""
        turn = f' transform="rotate(-90 {x:g} {y:g})"' if rotated else ""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{color}"{weight}{turn}>{escape(text)}</text>'
        )

    def svg(self):
        """Returns the text of the SVG file."""
        return "\n".join([*self._parts, "</svg>"]) + "\n"


def _dashes(dashed):
    return ' stroke-dasharray="5 4"' if dashed else ""
