"""A headless Chromium driven over the WebDriver protocol with nothing but the standard library.

    python tests/browser.py demo/results/report/session1.html screenshots

takes pictures of a report at the widths of a phone, a tablet and a desk, in light and dark, to be looked at.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--hide-scrollbars",
)  # fmt: skip
OURS = ("file:", "data:", "blob:", "about:")


class Browser:
    """One window. `run` evaluates JavaScript in the page, `logs` and `requests` say what it complained of and asked for."""

    def __init__(self, url: str, session: str) -> None:
        self._url = f"{url}/session/{session}"
        self._messages: list[dict[str, Any]] = []

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return _post(f"{self._url}{path}", body if body is not None else {})

    def open(self, page: Path, *, width: int = 1280, height: int = 900) -> None:
        """Load a file in a window of this size."""
        self.size(width, height)
        self._call("/url", {"url": page.resolve().as_uri()})

    def size(self, width: int, height: int) -> None:
        """Set the size of the viewport, narrower than a window can be."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics})

    def run(self, script: str, *args: Any) -> Any:
        """The value that a script returns; `arguments` are the args."""
        return self._call("/execute/sync", {"script": script, "args": list(args)})

    def wait(self, condition: str, seconds: float = 20.0) -> None:
        """Wait until a JavaScript expression is true."""
        until = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition})"):
            if time.monotonic() > until:
                raise TimeoutError(f"{condition} was not true after {seconds:g} s; the page said {self.logs()}")
            time.sleep(0.05)

    def press(self, *keys: str) -> None:
        """Type keys where the focus is (WebDriver's names: U+E004 is Tab, U+E007 Enter)."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def screenshot(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        found = self._call("/goog/cdp/execute", {"cmd": "Page.captureScreenshot", "params": {"format": "png"}})
        path.write_bytes(base64.b64decode(found["data"]))

    def logs(self) -> list[str]:
        """What the console said since the last call."""
        return [f"{entry['level']} {entry['message']}" for entry in self._call("/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Addresses that the page asked for and that are not part of itself."""
        entries = self._call("/se/log", {"type": "performance"})
        self._messages += [json.loads(entry["message"])["message"] for entry in entries]
        sent = [m["params"] for m in self._messages if m["method"] == "Network.requestWillBeSent"]
        # A new browser shows a page of its own first, whose requests are none of ours.
        mine = [p["request"]["url"] for p in sent if p["documentURL"].startswith("file:")]
        return [url for url in mine if not url.startswith(OURS)]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start a driver and a browser with an empty profile; both end with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as profile:
        driver = subprocess.Popen(
            [str(CHROMEDRIVER), f"--port={port}", "--allowed-ips=127.0.0.1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(url)
            options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}"]}
            logging = {"browser": "ALL", "performance": "ALL"}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logging}
            session = _post(f"{url}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            try:
                yield Browser(url, session)
            finally:
                _open(urllib.request.Request(f"{url}/session/{session}", method="DELETE"))
        finally:
            driver.terminate()
            driver.wait(10)


def _wait_for(url: str) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            if json.loads(_open(urllib.request.Request(f"{url}/status")))["value"]["ready"]:
                return
        time.sleep(0.05)
    raise TimeoutError("chromedriver did not answer within 10 s")


def _post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        return json.loads(_open(request))["value"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(json.loads(error.read())["value"]["message"]) from None


def _open(request: urllib.request.Request) -> bytes:
    # No proxy: the driver is on this machine whatever the environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        return answer.read()


def main(page: Path, folder: Path) -> None:
    """Screenshots of the whole page at three widths and in two themes."""
    folder.mkdir(parents=True, exist_ok=True)
    with browser() as one:
        for width in (390, 820, 1280):
            one.open(page, width=width, height=1000)
            for theme in ("light", "dark"):
                one.wait("document.documentElement.dataset.charts === 'drawn'")
                one.size(width, one.run("return document.documentElement.scrollHeight"))
                one.screenshot(folder / f"{page.stem}-{width}-{theme}.png")
                one.run("delete document.documentElement.dataset.charts; document.querySelector('#theme').click()")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
