"""A browser in front of the page, for `page_cost`: a program that asks as a browser does, or real tabs of Chromium.

Example:
    python -m benchmarks.speed.page_client http://127.0.0.1:9200/ COOKIE
"""

import argparse
import http.client
import json
import re
import time
from urllib.parse import urlsplit

CHROMIUM = "/usr/bin/chromium"
_ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


class PageClient:
    """Loads the live screen, then follows its stream: it fetches each picture once, and a whole card after a gap."""

    def __init__(self, host: str, port: int, cookie: str) -> None:
        """Take the page's address, and the cookie of a session as NAME=VALUE."""
        self._cookie, self._numbers = {"Cookie": cookie}, dict[int, int]()
        self._stream, self._other = (http.client.HTTPConnection(host, port, timeout=60) for _ in range(2))

    def run(self) -> None:
        """Follow the stream until it ends."""
        text = self._get("/").decode()
        for path in sorted(set(re.findall(r'(?:src|href)="(/(?:static|picture)/[^"]+)"', text))):
            self._get(path)
        print("ready", flush=True)
        self._stream.request("GET", "/events?live=1", headers=self._cookie)
        for line in self._stream.getresponse():
            if line.startswith(b'data: {"camera"'):
                self._show(json.loads(line[6:]))

    def _show(self, event: dict[str, object]) -> None:
        camera, number = int(str(event["camera"])), int(str(event["number"]))
        before = self._numbers.get(camera, number)
        self._numbers[camera] = number
        if number > before + 1:
            self._get(f"/live/{camera}")
        if number > before and event["picture"]:
            self._get(f"/picture/{event['name']}.jpg")

    def _get(self, path: str) -> bytes:
        self._other.request("GET", path, headers=self._cookie)
        return self._other.getresponse().read()


def show_tabs(url: str, cookie: str, tabs: int) -> None:
    """Open the live screen in tabs of Chromium, until this process ends."""
    from playwright.sync_api import sync_playwright

    name, _, value = cookie.partition("=")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_ARGUMENTS))
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.add_cookies([{"name": name, "value": value, "url": url}])
        for _ in range(tabs):
            context.new_page().goto(url)
        print("ready", flush=True)
        while True:
            time.sleep(1)


def main(arguments: list[str] | None = None) -> None:
    """Be a browser until the page ends, or this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", metavar="URL")
    parser.add_argument("cookie", metavar="NAME=VALUE")
    parser.add_argument("--chromium", type=int, metavar="TABS", help="open so many tabs of Chromium")
    args = parser.parse_args(arguments)
    if args.chromium:
        show_tabs(args.url, args.cookie, args.chromium)
        return
    address = urlsplit(args.url)
    PageClient(address.hostname or "", address.port or 80, args.cookie).run()


if __name__ == "__main__":
    main()
