"""The report of a check as one HTML page that stands alone: no script, nothing fetched, readable on a phone,
in light and dark. Pure.

Every value of the report may hold a text that a server or AWS gave: markup.text escapes whatever is put
anywhere, and the page's own policy lets nothing run or load but the one style sheet in it.

    document   the whole, and its lists and tables
    card       one finding
    picture    the environment as a drawing
    grouping   which findings are one entry, and where it belongs
    wording    times, numbers, names
    markup     HTML from values
"""

from slipway.drift.page.document import render

__all__ = ["render"]
