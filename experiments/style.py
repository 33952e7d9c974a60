"""The look of every figure: one colour, line and marker a method, and type for a two-column paper.

Colours are those of Okabe and Ito and of Paul Tol, told apart by the colour-blind; line styles tell
the methods apart in grey.
"""

import zlib
from typing import Any, NamedTuple


Dashes = tuple[float, ...]


class Style(NamedTuple):
    """How the curve of a method is drawn; `dashes` are lengths on and off, none for a full line."""

    color: str
    dashes: Dashes
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """The arguments of a matplotlib line without its marker."""
        return {"color": self.color, "linestyle": (0, self.dashes) if self.dashes else "-"}

    @property
    def mark(self) -> dict[str, Any]:
        """The arguments of a matplotlib marker without a line."""
        return {
            "marker": self.marker,
            "linestyle": "",
            "markerfacecolor": self.color,
            "markeredgecolor": "white",
            "markersize": 8.0 if self.marker == "*" else 5.5,  # a star of the same area
        }


FULL: Dashes = ()
DASHED: Dashes = (4.0, 1.4)
LONG: Dashes = (8.0, 1.6)
DOTTED: Dashes = (1.0, 1.2)
DASH_DOT: Dashes = (5.0, 1.4, 1.0, 1.4)
DASH_DOT_DOT: Dashes = (5.0, 1.4, 1.0, 1.4, 1.0, 1.4)

STYLES: dict[str, Style] = {
    "Minibatch SGD": Style("#56B4E9", DASHED, "s"),
    "QSGD": Style("#0072B2", DASH_DOT, "D"),
    "Asynchronous SGD": Style("#E69F00", DASHED, "^"),
    "Rennala SGD": Style("#009E73", LONG, "v"),
    "SGD One": Style("#000000", DOTTED, "o"),
    "Shadowheart SGD": Style("#D55E00", FULL, "*"),
    "Shadowheart SGD (S = σ²/ε)": Style("#CC79A7", FULL, "P"),
    "Gradient descent": Style("#000000", DOTTED, "o"),
    "MARINA, IQ": Style("#E69F00", DASHED, "s"),
    "MARINA, CQ": Style("#D55E00", FULL, "*"),
    "MARINA, PermK": Style("#0072B2", DASH_DOT, "D"),
    "MARINA, RandK": Style("#56B4E9", LONG, "v"),
    "DIANA, RandK": Style("#E69F00", DASHED, "^"),
    "DASHA, RandK": Style("#009E73", DASH_DOT_DOT, "<"),
    "EF14, TopK": Style("#882255", DASHED, "X"),
    "EF21, TopK": Style("#CC79A7", DASH_DOT, "P"),
    "EF21-SGDM, TopK": Style("#D55E00", FULL, "*"),
    "QSGD, dithering": Style("#0072B2", DASH_DOT, "D"),
    "PowerSGD": Style("#009E73", LONG, "v"),
    "Local SGD": Style("#000000", DOTTED, "o"),
    "Uncompressed": Style("#000000", DOTTED, "o"),
    "EF21, best fixed ratio": Style("#009E73", DASH_DOT_DOT, "v"),
    "EF21, same budget": Style("#E69F00", LONG, "^"),
    "Kimad": Style("#0072B2", DASHED, "D"),
    "Kimad+": Style("#D55E00", FULL, "*"),
    "Kimad, oracle": Style("#CC79A7", DASH_DOT, "P"),
}
"""The methods that have a style of their own, in the order of legends.

Within a study no two have the same colour or marker.
"""

TARGET: dict[str, Any] = {"color": "#555555", "linestyle": (0, (3.0, 2.0)), "linewidth": 0.7}
"""The line of the target."""

PANEL_INCHES = (2.33, 2.9)
"""Three panels are as wide as the text of a two-column paper."""

ROW_INCHES = 2.0
"""What another row of panels adds to the height."""

BAND: dict[str, Any] = {"alpha": 0.15, "linewidth": 0.0}
"""The band between the quartiles."""

_SPARE_COLORS = ("#332288", "#44AA99", "#AA4499", "#117733", "#888888")
_SPARE_DASHES = (FULL, DASHED, DASH_DOT, LONG, DASH_DOT_DOT)
_SPARE_MARKERS = ("p", "h", "d", "X", "H", "8")

PAPER: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # of matplotlib; it has the letters τ̇ᵢ
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "legend.columnspacing": 1.4,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.4,
    "lines.linewidth": 1.2,
    "lines.markeredgewidth": 0.4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}
"""Settings of matplotlib, on top of its defaults."""


def style(method: str) -> Style:
    """The style of a method: from the table, or one that depends on the name alone."""
    if method in STYLES:
        return STYLES[method]
    digits = zlib.crc32(method.encode())
    digits, color = divmod(digits, len(_SPARE_COLORS))
    digits, dashes = divmod(digits, len(_SPARE_DASHES))
    marker = digits % len(_SPARE_MARKERS)
    return Style(_SPARE_COLORS[color], _SPARE_DASHES[dashes], _SPARE_MARKERS[marker])


def legend_order(method: str) -> tuple[int, str]:
    """A sort key: the methods of the table in its order, then the others by name."""
    known = list(STYLES)
    return (known.index(method) if method in STYLES else len(known)), method
