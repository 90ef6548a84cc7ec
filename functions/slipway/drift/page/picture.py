"""The picture of an environment, as SVG inside the report's page: what a visitor's request comes by, from the
internet to the database, and at each part the numbers of the findings about it. Pure.

Coordinates are pixels of a picture 400 wide, which is its width on a large screen and about that on a phone;
colours and fonts are the page's (page.css).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from slipway.drift.page.grouping import SEVERITIES, Entry, Json, said, worst
from slipway.drift.page.markup import Markup, element

WIDTH = 400.0
MARGIN = 14.0
GAP = 28.0
LINE = 17.0

# Room for one number with the space around it: a finger needs 24 pixels, on a phone too.
BADGE, STEP, BADGE_ROW = 27.0, 33.0, 34.0
MORE = 40.0  # that which says how many more there are

# The page shows so many findings, the worst; the JSON report beside it has all. The picture counts all.
MOST_ENTRIES = 100

# So many servers are drawn, those with findings first; the others are counted.
MOST_SERVERS = 8

# An average letter's width, as a part of its size, in the widest of the usual fonts.
LETTER, MONO = 0.58, 0.61

# The state of a stack by the kind of what was found of it, the worst first.
STATE_BY_KIND: Mapping[str, str] = {
    "stack_missing": "gone",
    "stack_resource_deleted": "differs",
    "stack_resource_modified": "differs",
    "stack_differs": "differs",
    "stack_unknown": "not known",
}

STANDING = ("as released", "another release", "no answer")
SIGNS = dict(zip(STANDING, ("✓", "≠", "–"), strict=True))


def stack_state(stack: Json, entries: Iterable[Entry]) -> str:
    """A tier's stack against what was released. A status that says more than that it stands is told, too."""
    tier, status = said(stack, "tier"), said(stack, "status")
    kinds = {said(entry.first, "kind") for entry in entries if said(entry.first, "tier") == tier}
    found = next((state for kind, state in STATE_BY_KIND.items() if kind in kinds), "")
    usual = status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "")
    told = "" if usual or found == "gone" else status.lower().replace("_", " ")
    return ", ".join(part for part in (found, told) if part) or "as deployed"


def standing(server: Json, release: str) -> str:
    """How a server stands to the recorded release: one of STANDING."""
    if not server.get("reported", True):
        return STANDING[2]
    return STANDING[0] if said(server, "release") == release else STANDING[1]


@dataclass(frozen=True)
class Scene:
    """What the picture is of."""

    report: Json
    entries: Sequence[Entry]

    def at(self, place: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.place == place]

    def stack(self, tier: str) -> str:
        """What is said of the tier's stack; empty if the report does not know it."""
        known = (stack for stack in self.report.get("stacks") or [] if said(stack, "tier") == tier)
        return next((f"stack {stack_state(stack, self.entries)}" for stack in known), "")


@dataclass
class Sheet:
    """Collects shapes, later ones above earlier ones."""

    shapes: list[Markup] = field(default_factory=list)

    def rect(self, x: float, y: float, width: float, height: float, class_: str) -> None:
        self.shapes.append(
            element("rect", x=_n(x), y=_n(y), width=_n(width), height=_n(height), rx=8, class_=class_)
        )

    def words(
        self, x: float, y: float, words: str, class_: str, room: float, letter: float = LETTER * 13
    ) -> None:
        """`y` is the baseline; what has no room is cut, and whole in the title."""
        fits = max(int(room / letter), 1)
        cut = words if len(words) <= fits else words[: fits - 1] + "…"
        title = element("title", words) if cut != words else Markup("")
        self.shapes.append(element("text", title, cut, x=_n(x), y=_n(y), class_=class_))

    def line(self, *points: tuple[float, float], tip: bool = True) -> None:
        path = "M" + " L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        self.shapes.append(element("path", d=path, class_="line", marker_end="url(#tip)" if tip else None))

    def badges(self, x: float, y: float, room: float, entries: Sequence[Entry]) -> None:
        """A row of numbers from the left, as many as there is room for; the last says how many more."""
        leading = [entry for entry in entries if entry.number <= MOST_ENTRIES]
        whole = len(leading) == len(entries) <= (room + STEP - BADGE) / STEP
        shown = leading if whole else leading[: int((room - MORE) / STEP)]
        for column, entry in enumerate(shown):
            self.shapes.append(badge(x + column * STEP, y, entry))
        if rest := entries[len(shown) :]:
            self.shapes.append(more(x + len(shown) * STEP, y, rest))


def badge(x: float, y: float, entry: Entry) -> Markup:
    """A number that leads to its finding. The shape says how bad it is, for those who see no colours."""
    label = f"Finding {entry.number}, {entry.severity}: {said(entry.first, 'what')}"
    return _link((x, y, BADGE), anchor(entry), label, str(entry.number), entry.severity)


def more(x: float, y: float, rest: Sequence[Entry]) -> Markup:
    label = f"{len(rest)} more findings here, the first of them number {rest[0].number}"
    return _link((x, y, MORE), anchor(rest[0]), label, f"+{len(rest)}", worst(rest))


def anchor(entry: Entry) -> str:
    """The id of the element that shows the entry, or says that it is not shown."""
    return f"finding-{entry.number}" if entry.number <= MOST_ENTRIES else "left"


def _link(place: tuple[float, float, float], target: str, label: str, words: str, severity: str) -> Markup:
    x, y, width = place
    radius = 5 if severity == SEVERITIES[0] else BADGE / 2
    shape = element(
        "rect", x=_n(x), y=_n(y), width=_n(width), height=_n(BADGE), rx=_n(radius), class_="shape"
    )
    size = "number" if len(words) < 3 else "number small"
    number = element("text", words, x=_n(x + width / 2), y=_n(y + BADGE / 2 + 4.5), class_=size)
    return element("a", element("title", label), shape, number, href=f"#{target}", class_=f"badge {severity}")


def draw(scene: Scene) -> Markup:
    sheet = Sheet()
    bottom = _bottom(sheet, scene, _network(sheet, scene, _entrance(sheet, scene)))
    environment = said(scene.report, "environment")
    return element(
        "svg",
        element("title", f"The environment {environment}", id="picture-title"),
        TIP,
        *sheet.shapes,
        viewBox=f"-1 0 {_n(WIDTH + 2)} {_n(bottom)}",
        role="group",
        aria_labelledby="picture-title",
        class_="picture",
    )


TIP = element(
    "defs",
    element(
        "marker",
        element("path", d="M0 0 L8 4 L0 8 z", class_="tip"),
        id="tip",
        viewBox="0 0 8 8",
        refX=7,
        refY=4,
        markerWidth=8,
        markerHeight=8,
        orient="auto",
    ),
)


def _entrance(sheet: Sheet, scene: Scene) -> float:
    """The internet, and what a visitor's browser asks before it connects; how far down it comes."""
    sheet.rect(WIDTH / 2 - 62, 1, 124, 32, "box")
    sheet.words(WIDTH / 2, 22, "Internet", "title middle", 124)
    if elsewhere := scene.at("environment"):
        sheet.words(0, 22, "Other", "title", 50)
        sheet.badges(46, 3, WIDTH / 2 - 62 - 46 - 8, elsewhere)
    half = (WIDTH - GAP) / 2
    top = 33 + GAP
    dns, certificate = scene.at("dns"), scene.at("certificate")
    days = scene.report.get("certificateDays")
    left = "days left not known" if days is None else f"{days} days left"
    boxes = (
        Box("DNS", [said(scene.report, "domain") or "alias and delegation"], dns),
        Box("Certificate", [left, scene.stack("certificate")], certificate),
    )
    height = max(box.height for box in boxes)
    for box, x in zip(boxes, (0.0, half + GAP), strict=True):
        box.draw(sheet, x, top, half, height)
    middle = top + height / 2
    sheet.line((half, middle), (half + GAP, middle), tip=False)
    sheet.line((WIDTH / 2, 33), (WIDTH / 2, top + height + 64))
    return top + height + 18


@dataclass(frozen=True)
class Box:
    """A part of the environment: its name, a few quiet lines, its findings."""

    name: str
    lines: Sequence[str]
    entries: Sequence[Entry]

    @property
    def said(self) -> list[str]:
        return [line for line in self.lines if line]

    @property
    def height(self) -> float:
        return 32 + LINE * len(self.said) + (BADGE_ROW if self.entries else 0)

    def draw(self, sheet: Sheet, x: float, y: float, width: float, height: float = 0) -> None:
        room = width - 2 * MARGIN
        sheet.rect(x, y, width, height or self.height, " ".join(["box", worst(self.entries)]).strip())
        sheet.words(x + MARGIN, y + 22, self.name, "title", room)
        for row, line in enumerate(self.said):
            sheet.words(x + MARGIN, y + 22 + LINE * (row + 1), line, "quiet", room, LETTER * 12)
        if self.entries:
            sheet.badges(x + MARGIN, y + 30 + LINE * len(self.said), room, self.entries)


def _network(sheet: Sheet, scene: Scene, top: float) -> float:
    """The network's frame and what stands in it; how far down it comes."""
    frame = len(sheet.shapes)
    entries = scene.at("network")
    sheet.words(MARGIN, top + 22, "Network", "title", 100)
    sheet.words(MARGIN, top + 22 + LINE, scene.stack("network"), "quiet", WIDTH / 2 - MARGIN, LETTER * 12)
    # Beside the name, and beside the arrow that comes in.
    sheet.badges(WIDTH / 2 + MARGIN, top + 9, WIDTH / 2 - 2 * MARGIN, entries)
    y = top + 48
    balancer = Box("Load balancer", [scene.stack("load_balancer")], scene.at("load_balancer"))
    balancer.draw(sheet, MARGIN, y, WIDTH - 2 * MARGIN)
    y += balancer.height
    sheet.line((WIDTH / 2, y), (WIDTH / 2, y + GAP))
    y = _servers(sheet, scene, MARGIN, y + GAP, WIDTH - 2 * MARGIN)
    database = Box("Database", [scene.stack("database")], scene.at("database"))
    sheet.line((MARGIN + DATABASE_WIDTH / 2, y), (MARGIN + DATABASE_WIDTH / 2, y + GAP))
    database.draw(sheet, MARGIN, y + GAP, DATABASE_WIDTH)
    bottom = y + GAP + database.height + MARGIN
    # The way from the servers to the buckets, which are outside the network.
    sheet.line((BUCKETS_LINE, y), (BUCKETS_LINE, bottom + GAP))
    behind = Sheet()
    behind.rect(1, top, WIDTH - 2, bottom - top, " ".join(["frame", worst(entries)]).strip())
    sheet.shapes[frame:frame] = behind.shapes
    return bottom


DATABASE_WIDTH = 224.0
BUCKETS_WIDTH = 186.0
BUCKETS_LINE = WIDTH - 80


def _servers(sheet: Sheet, scene: Scene, x: float, y: float, width: float) -> float:
    """The web servers' frame, two servers a row; how far down it comes."""
    servers = by_trouble(scene.report, scene.entries)
    shown, rest = servers[:MOST_SERVERS], servers[MOST_SERVERS:]
    drawn = frozenset(said(server, "id") for server in shown)
    everywhere = scene.at("web")
    # What no server that is drawn shows is shown at the group.
    of_group = [entry for entry in everywhere if not entry.names & drawn]
    group = Box("Web servers", [counted(scene.report), scene.stack("web")], of_group)
    cells = [Cell(scene, server) for server in shown]
    rows = [cells[first : first + 2] for first in range(0, len(cells), 2)]
    heights = [max(cell.height for cell in row) for row in rows]
    height = group.height + sum(heights) + 10 * len(rows) + (LINE + 6 if rest else 0) + 6
    sheet.rect(x, y, width, height, " ".join(["box", "group", worst(everywhere)]).strip())
    body = Sheet()
    group.draw(body, x, y, width)
    sheet.shapes += body.shapes[1:]
    top = y + group.height + 2
    cell_width = (width - 3 * 10) / 2
    for row, tall in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            cell.draw(sheet, x + 10 + column * (cell_width + 10), top, cell_width, tall)
        top += tall + 10
    if rest:
        sheet.words(x + MARGIN, top + 12, f"and {len(rest):,} more", "quiet", width - 2 * MARGIN)
    return y + height


@dataclass(frozen=True)
class Cell:
    """One server with its release."""

    scene: Scene
    server: Json

    @property
    def entries(self) -> list[Entry]:
        return [entry for entry in self.scene.at("web") if said(self.server, "id") in entry.names]

    @property
    def height(self) -> float:
        return 48 + (BADGE_ROW if self.entries else 0)

    def draw(self, sheet: Sheet, x: float, y: float, width: float, height: float) -> None:
        room = width - 2 * 10
        release = said(release_of(self.scene.report), "id")
        state = standing(self.server, release)
        sheet.rect(x, y, width, height, " ".join(["cell", worst(self.entries)]).strip())
        sheet.words(x + 10, y + 20, said(self.server, "id"), "mono", room, MONO * 11.5)
        told = said(self.server, "release") if state != STANDING[2] else STANDING[2]
        sheet.words(x + 10, y + 38, f"{SIGNS[state]} {told or 'no release'}", "quiet", room, LETTER * 12)
        if self.entries:
            sheet.badges(x + 10, y + 46, room, self.entries)


def release_of(report: Json) -> Json:
    release = report.get("release")
    return release if isinstance(release, Mapping) else {"id": release}


def servers_in(report: Json) -> list[Json]:
    return list(report.get("servers") or [])


def counted(report: Json) -> str:
    """How many servers run what was released."""
    release, servers = said(release_of(report), "id"), servers_in(report)
    well = sum(standing(server, release) == STANDING[0] for server in servers)
    return f"{well:,} of {len(servers):,} run {release}" if servers else "none known"


def by_trouble(report: Json, entries: Iterable[Entry]) -> list[Json]:
    """The servers that need somebody first: with findings, then those that do not run what was released."""
    release = said(release_of(report), "id")
    troubled = frozenset().union(*(entry.names for entry in entries))

    def order(server: Json) -> tuple[bool, int, str]:
        name = said(server, "id")
        return name not in troubled, -STANDING.index(standing(server, release)), name

    return sorted(servers_in(report), key=order)


def _bottom(sheet: Sheet, scene: Scene, top: float) -> float:
    """The buckets, and beside them what the shapes mean; how far down they come."""
    buckets = Box("Buckets", [scene.stack("storage")], scene.at("storage"))
    y = top + GAP
    buckets.draw(sheet, WIDTH - BUCKETS_WIDTH, y, BUCKETS_WIDTH)
    if scene.entries:
        _legend(sheet, y)
    return y + max(buckets.height, 3 * 20 if scene.entries else 0) + 2


def _legend(sheet: Sheet, y: float) -> None:
    for row, severity in enumerate(SEVERITIES):
        middle = y + 8 + 20 * row
        mark = element(
            "rect", x=2, y=_n(middle - 6), width=12, height=12, rx=3 if row == 0 else 6, class_="shape"
        )
        sheet.shapes.append(element("g", mark, class_=f"badge {severity}"))
        sheet.words(22, middle + 4, severity, "quiet", 100)


def _n(number: float) -> str:
    return f"{number:g}"
