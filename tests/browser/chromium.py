"""A headless Chromium that is told what to do through a pipe, by its own protocol (Chrome DevTools Protocol:
https://chromedevtools.github.io/devtools-protocol/). No driver, no port, no package beyond the browser."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The sandbox needs rights that a container often lacks; only pages made by the tests are opened. The rest
# keeps the browser from talking to anybody.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)

# Busy machines start a browser slowly.
PATIENCE = 120.0


@dataclass
class Pipe:
    """Messages are JSON, with a zero byte behind each."""

    to: int
    back: int
    buffer: bytes = b""

    def send(self, message: Mapping[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data) :]

    def receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.back], [], [], max(deadline - time.monotonic(), 0))
            read = os.read(self.back, 1 << 16) if ready else b""
            if not read:
                raise TimeoutError("Chromium says nothing" if not ready else "Chromium has ended")
            self.buffer += read
        message, self.buffer = self.buffer.split(b"\0", 1)
        received: dict[str, Any] = json.loads(message)
        return received


@dataclass
class Page:
    """One tab, and everything that was reported about it since it was opened."""

    pipe: Pipe
    session: str = ""
    number: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.pipe.send(message)
        deadline = time.monotonic() + PATIENCE
        while True:
            received = self.pipe.receive(deadline)
            if received.get("id") == self.number:
                if "error" in received:
                    raise RuntimeError(f"{method}: {received['error']}")
                result: dict[str, Any] = received["result"]
                return result
            self.events.append(received)

    def wait(self, happened: Callable[[dict[str, Any]], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not any(happened(event) for event in self.events):
            self.events.append(self.pipe.receive(deadline))

    def look(self, width: int, height: int, scheme: str) -> None:
        """As on a screen of this size; `scheme`: light or dark."""
        mobile = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=mobile)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, path: Path, fragment: str = "") -> None:
        self.events.clear()
        # With a number, or the same page with another fragment would not be loaded again.
        url = f"{path.absolute().as_uri()}?{self.number}{fragment}"
        loader = self.call("Page.navigate", url=url)["loaderId"]
        self.wait(
            lambda event: (
                event.get("method") == "Page.lifecycleEvent"
                and event["params"]["loaderId"] == loader
                and event["params"]["name"] == "load"
            )
        )

    def ask(self, expression: str) -> Any:
        """The value of a piece of JavaScript in the page. The page's own policy does not hold for it."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def seen(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event.get("method") == method]

    def press(self, key: str) -> None:
        code, text = KEYS[key]
        for kind in ("keyDown", "keyUp"):
            written = {"text": text} if text and kind == "keyDown" else {}
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **written
            )

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, path: Path, whole: bool = True) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


# Windows' number of a key, and what it writes.
KEYS = {"Tab": (9, ""), "Enter": (13, "\r")}


@contextmanager
def browser(binary: str, profile: Path) -> Iterator[Page]:
    """`profile`: an empty directory."""
    to_child, to = os.pipe()
    back, from_child = os.pipe()
    # Chromium reads from descriptor 3 and writes to 4.
    shell = f'exec "$0" "$@" 3<&{to_child} 4>&{from_child}'
    command = ["bash", "-c", shell, binary, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with (profile.parent / f"{profile.name}.log").open("wb") as log:
        process = subprocess.Popen(command, pass_fds=(to_child, from_child), stdout=log, stderr=log)
    os.close(to_child)
    os.close(from_child)
    try:
        yield _tab(Pipe(to, back))
    finally:
        os.close(to)  # it ends when nobody can tell it anything any more
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(back)


def _tab(pipe: Pipe) -> Page:
    page = Page(pipe)
    [target] = [one for one in page.call("Target.getTargets")["targetInfos"] if one["type"] == "page"]
    attached = page.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
    page.session = attached["sessionId"]
    for domain in ("Page", "Runtime", "Network", "Log", "Audits", "Security"):
        page.call(f"{domain}.enable")
    page.call("Page.setLifecycleEventsEnabled", enabled=True)
    return page
