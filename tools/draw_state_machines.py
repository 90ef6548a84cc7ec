"""Draws docs/pictures/<machine>.svg from statemachine/<machine>.asl.yaml.

    python -m tools.draw_state_machines [--check]

The spine of a picture is the way of a success, top to bottom; branches of a Parallel stand side by side; the
states that only failures reach have a spine of their own. A check and the choice that loops back to it are
one box, with the other ways out of the choice as lines in it. A dot says where a failure of a state goes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tools.draw_svg import INK, QUIET, ROOT, Canvas, write_or_check

State = Mapping[str, Any]
States = Mapping[str, State]

BOX, GAP, LINE_HEIGHT, HEAD = 218.0, 22.0, 14.0, 30.0
RED = "#c0392b"
FILL = {
    "Task": "#e3effb",
    "Nested": "#ece6fa",
    "Choice": "#fdf3d8",
    "Wait": "#eef1f4",
    "Succeed": "#daf2e0",
    "Fail": "#fbe0dd",
    "Pass": "#eef1f4",
    "Parallel": "#ffffff",
    "Map": "#ffffff",
}


@dataclass
class Step:
    """A box of a picture: one state, or a task with the choice that follows it."""

    name: str
    kind: str
    lines: list[str] = field(default_factory=list)
    catches: list[str] = field(default_factory=list)  # where failures go, unless just on to the next state
    branches: list[list[Step]] = field(default_factory=list)

    @property
    def width(self) -> float:
        if not self.branches:
            return BOX
        return len(self.branches) * BOX + (len(self.branches) + 1) * GAP

    @property
    def height(self) -> float:
        if self.branches:
            return HEAD + max(chain_height(branch) for branch in self.branches) + GAP
        return HEAD + LINE_HEIGHT * len(self.lines) + (4 if self.lines else 0)


def chain_height(steps: Sequence[Step]) -> float:
    return sum(step.height for step in steps) + GAP * (len(steps) - 1)


def ways(state: State) -> list[str]:
    """The states that may follow, failures aside, in the order of the definition."""
    found = [choice["Next"] for choice in state.get("Choices", [])]
    found += [state[key] for key in ("Next", "Default") if key in state]
    return list(dict.fromkeys(found))


def inner(state: State) -> list[Any]:
    """The branches of a Parallel; what a Map does for each of its items."""
    return [*state.get("Branches", []), *([state["ItemProcessor"]] if "ItemProcessor" in state else [])]


def caught(state: State) -> list[str]:
    """Where failures of the state go; those that merely go on to the next state are none."""
    return list(dict.fromkeys(c["Next"] for c in state.get("Catch", []) if c["Next"] != state.get("Next")))


def spine(states: States, start: str, seen: tuple[str, ...] = ()) -> list[str] | None:
    """The way of a success: at a choice the first alternative that leads on and does not come back here.

    One that leaves the machine's parallel work out counts after one that does it. An alternative that ends at
    once counts after those that go on; one that ends in a Fail state counts last.
    """
    state = states[start]
    if start in seen:
        return None
    if not ways(state):
        return [start]

    def rank(name: str) -> int:
        return {"Succeed": 1, "Fail": 2}.get(states[name]["Type"], 0)

    ranked = (spine(states, way, (*seen, start)) for way in sorted(ways(state), key=rank))
    onward = [rest for rest in ranked if rest]
    whole = [rest for rest in onward if any(states[name]["Type"] == "Parallel" for name in rest)]
    return [start, *(whole or onward)[0]] if onward else None


def aside(states: States, name: str, spined: Sequence[str], position: int) -> str:
    """A way out of the choice at `position` of the spine, as words: up to where it joins or ends."""
    ends = {target for state in states.values() for target in caught(state)}
    names = [name]
    while name not in spined and name not in ends:
        onward = [n for n in ways(states[name]) if n not in names]
        if not onward:
            break
        joins = [n for n in onward if n in spined]
        back = [n for n in joins if spined.index(n) <= position]
        name = (back or joins or onward)[0]
        names.append(name)
    if name in spined:
        symbol = "↻" if spined.index(name) <= position else "or"
    else:
        symbol = "■" if states[name]["Type"] == "Succeed" or states[name].get("End") else "✕"
    return f"{symbol} {' → '.join(names)}"


def nested_machine(state: State) -> str | None:
    """`deploy_tier` for a task that runs the machine of the substitution ${DeployTierStateMachineArn}, or
    `itself`."""
    if not str(state.get("Resource", "")).startswith("arn:aws:states:::states:startExecution"):
        return None
    if "$states.context.StateMachine.Id" in state["Arguments"]["StateMachineArn"]:
        return "itself"
    camel = re.sub(r"\W|StateMachineArn", "", state["Arguments"]["StateMachineArn"])
    return re.sub(r"(?<!^)(?=[A-Z])", "_", camel).lower()


def lines_aside(states: States, name: str, spined: Sequence[str]) -> list[str]:
    position = spined.index(name)
    onward = spined[position + 1] if position + 1 < len(spined) else None
    return [aside(states, way, spined, position) for way in ways(states[name]) if way != onward]


def wrap(line: str, width: int = 36) -> list[str]:
    """Lines of at most `width` characters, broken between states."""
    rows: list[str] = []
    for number, name in enumerate(line.split(" → ")):
        piece = name if number == 0 else f"→ {name}"
        if rows and len(rows[-1]) + 1 + len(piece) <= width:
            rows[-1] += " " + piece
        else:
            rows.append(piece if not rows else "    " + piece)
    return rows


def steps_of(states: States, start: str) -> list[Step]:
    spined = spine(states, start) or [start]
    steps: list[Step] = []
    for name in spined:
        state = states[name]
        outs = [row for line in lines_aside(states, name, spined) for row in wrap(line)]
        if state["Type"] == "Choice" and steps and loops_back(states, name, spined):
            steps[-1].lines += [f"until {name}", *outs]
            continue
        machine = nested_machine(state)
        steps.append(
            Step(
                name,
                "Nested" if machine else state["Type"],
                [f"runs {machine}"] * bool(machine) + outs,
                # A failure that ends the machine well all the same is none.
                [target for target in caught(state) if states[target]["Type"] != "Succeed"],
                [steps_of(branch["States"], branch["StartAt"]) for branch in inner(state)],
            )
        )
    return steps


def loops_back(states: States, choice: str, spined: Sequence[str]) -> bool:
    """Whether a way out of the choice returns to it: it ends a wait, together with the task before it."""
    before = spined[: spined.index(choice)]
    if not before or states[before[-1]]["Type"] != "Task":
        return False
    return any(line.startswith("↻") for line in lines_aside(states, choice, spined))


def failure_spine(states: States, drawn: Sequence[Step]) -> list[Step]:
    """The states that only failures reach, in the order of the definition; some lead back to the others."""
    first = {name: number for number, name in enumerate(states)}
    success = {step.name for step in drawn}
    heads = sorted({target for step in drawn for target in step.catches} - success, key=lambda n: first[n])
    if not heads:
        return []
    reached: list[str] = []
    agenda = heads
    while agenda:
        name = agenda.pop(0)
        if name not in reached and name not in success:
            reached.append(name)
            agenda += ways(states[name])
    steps = []
    for name in sorted(reached, key=lambda n: first[n]):
        others = [way for way in ways(states[name]) if way != following(reached, name, first)]
        machine = nested_machine(states[name])
        lines = [f"runs {machine}"] * bool(machine) + [f"or {way}" for way in others]
        steps.append(Step(name, "Nested" if machine else states[name]["Type"], lines, caught(states[name])))
    return steps


def following(names: Sequence[str], name: str, order: Mapping[str, int]) -> str | None:
    later = [n for n in names if order[n] > order[name]]
    return min(later, key=lambda n: order[n]) if later else None


def draw_step(canvas: Canvas, step: Step, centre: float, top: float, dots: Mapping[str, bool]) -> None:
    left = centre - step.width / 2
    colour = {"Fail": RED, "Succeed": "#2e8b57"}.get(step.kind, "#7b8794")
    canvas.box(left, top, step.width, step.height, fill=FILL[step.kind], stroke=colour)
    canvas.text(centre, top + 20, step.name, size=13, bold=True)
    for row, line in enumerate(step.lines):
        tone = RED if line.startswith("✕") else QUIET
        canvas.text(left + 12, top + 36 + row * LINE_HEIGHT, line, size=10.5, colour=tone, anchor="start")
    for number, target in enumerate(t for t in step.catches if t in dots):
        canvas.dot(left + step.width - 10 - 12 * number, top + 10, RED, hollow=dots[target])
    for number, branch in enumerate(step.branches):
        draw_chain(canvas, branch, left + GAP + BOX / 2 + number * (BOX + GAP), top + HEAD, dots)


def draw_chain(
    canvas: Canvas, steps: Sequence[Step], centre: float, top: float, dots: Mapping[str, bool]
) -> None:
    for number, step in enumerate(steps):
        draw_step(canvas, step, centre, top, dots)
        top += step.height
        if number + 1 < len(steps) and step.kind not in {"Succeed", "Fail"}:
            canvas.arrow([(centre, top), (centre, top + GAP)])
        top += GAP


def draw(path: Path) -> str:
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    states: States = definition["States"]
    name = path.name.removesuffix(".asl.yaml")
    steps = steps_of(states, definition["StartAt"])
    tail = failure_spine(states, steps)
    heads = [step.name for step in tail if any(step.name in s.catches for s in steps)]
    dots = {head: number == 0 and len(heads) > 1 for number, head in enumerate(heads)}

    canvas = Canvas(f"State machine {name}")
    canvas.text(24, 34, name, size=18, bold=True, anchor="start")
    canvas.text(24, 54, definition.get("Comment", ""), size=12, colour=QUIET, anchor="start")
    widest = max(step.width for step in steps)
    centre, top = 24 + widest / 2, 74.0
    draw_chain(canvas, steps, centre, top, dots)
    if tail:
        # Beside the last frame of parallel branches there is no room: the failures begin below it.
        frames = [number for number, step in enumerate(steps) if step.branches]
        clear = frames[-1] + 1 if frames else 0
        tail_top = top + chain_height(steps[:clear]) + (GAP if clear else 0)
        tail_centre = centre + BOX + 3 * GAP
        draw_chain(canvas, tail, tail_centre, tail_top + HEAD, dots)
        draw_legend(canvas, dots, tail_centre - BOX / 2, tail_top)
    return canvas.svg()


def draw_legend(canvas: Canvas, dots: Mapping[str, bool], left: float, top: float) -> None:
    for number, (head, hollow) in enumerate(dots.items()):
        y = top + 6 + number * 16 - 8 * (len(dots) - 1)
        canvas.dot(left + 6, y, RED, hollow=hollow)
        canvas.text(left + 18, y + 4, f"a failure here goes to {head}", size=11, colour=INK, anchor="start")


def pictures() -> dict[str, partial[str]]:
    paths = sorted((ROOT / "statemachine").glob("*.asl.yaml"))
    return {path.name.replace(".asl.yaml", ".svg"): partial(draw, path) for path in paths}


if __name__ == "__main__":
    sys.exit(write_or_check(pictures()))
