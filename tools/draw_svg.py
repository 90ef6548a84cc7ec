"""What the drawing tools share: a small SVG canvas, and pictures that are written or checked.

Pictures have a background of their own: they read the same on a light and on a dark page. Sizes are pixels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"

INK, QUIET, LINE, PAPER = "#1f2933", "#52606d", "#7b8794", "#ffffff"


class Canvas:
    """Collects shapes; `svg` makes the file. Later shapes lie above earlier ones."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._shapes: list[str] = []
        self._width = self._height = 0.0

    def _reach(self, x: float, y: float) -> None:
        self._width, self._height = max(self._width, x), max(self._height, y)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str = PAPER,
        stroke: str = LINE,
        dashed: bool = False,
        radius: float = 6,
    ) -> None:
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" '
            f'fill="{fill}" stroke="{stroke}"{dash}/>'
        )
        self._reach(x + width, y + height)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 11,
        colour: str = INK,
        bold: bool = False,
        anchor: str = "middle",
    ) -> None:
        """`y` is the baseline."""
        weight = ' font-weight="600"' if bold else ""
        self._shapes.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{colour}" text-anchor="{anchor}"{weight}>'
            f"{escape(words)}</text>"
        )
        # 0.56 em is about the average letter; pictures end where their longest line does.
        self._reach(x + len(words) * size * 0.56 * {"start": 1.0, "middle": 0.5}.get(anchor, 0), y)

    def arrow(
        self, points: Sequence[tuple[float, float]], *, colour: str = LINE, dashed: bool = False
    ) -> None:
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        self._shapes.append(
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.4"{dash} '
            'marker-end="url(#tip)"/>'
        )

    def dot(self, x: float, y: float, colour: str, *, hollow: bool = False) -> None:
        fill = PAPER if hollow else colour
        self._shapes.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="4.5" fill="{fill}" stroke="{colour}" stroke-width="1.8"/>'
        )

    def svg(self, margin: float = 20) -> str:
        width, height = self._width + margin, self._height + margin
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" role="img" font-family="Helvetica, Arial, sans-serif">\n'
            f"<title>{escape(self.title)}</title>\n"
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0 0 L8 4 L0 8 z" fill="{QUIET}"/></marker></defs>\n'
            f'<rect width="{width:g}" height="{height:g}" rx="10" fill="#f7f9fb"/>\n'
        )
        return head + "\n".join(self._shapes) + "\n</svg>\n"


def write_or_check(pictures: Mapping[str, Callable[[], str]], argv: Sequence[str] | None = None) -> int:
    """Writes the pictures (name → drawing) to docs/pictures, or with --check says which of them are stale.

    Returns the exit code: 1 when --check found one.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true", help="fail when a committed picture is stale")
    check: bool = parser.parse_args(argv).check
    stale = []
    for name, draw in pictures.items():
        path = PICTURES / name
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(draw(), encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != draw():
            stale.append(name)
    if stale:
        print(f"stale: {', '.join(stale)}: draw again, without --check", file=sys.stderr)
    return 1 if stale else 0
