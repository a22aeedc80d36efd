"""The report of a run whose every text is hostile, in a real browser: no script runs, and nothing is asked of any server."""

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.nas.reporting.hostile import hostile_identity, hostile_search
from tests.nas.reporting.made_searches import reported, search_view
from tests.nas.reporting.pages import Page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="there is no browser to show the page in"),
    pytest.mark.slow,
]

OWNED = "owned"
"""What a script would make the title of the page."""

PAYLOADS = (
    "<script>document.title='owned'</script>",
    "</title></style><script>document.title='owned'</script>",
    "\"><img src={url}/image onerror=\"document.title='owned'\">",
    "' onmouseover='document.title=1' autofocus onfocus='document.title=\"owned\"' tabindex=0 x='",
    "</svg><svg onload=\"document.title='owned'\"><image href={url}/svg></image>",
    "<iframe src=\"javascript:parent.document.title='owned'\"></iframe><iframe src={url}/frame></iframe>",
    "<link rel=stylesheet href={url}/sheet><style>@import '{url}/import'; body {{ background: url({url}/background) }}</style>",
    "}} </style><style>* {{ background-image: url({url}/style) }}</style>",
    "<meta http-equiv=refresh content=\"0; url={url}/refresh\">",
    "<object data={url}/object></object><embed src={url}/embed><video autoplay src={url}/video></video>",
    "<base href={url}/base/><img src=relative><form action={url}/form><input autofocus onfocus=\"document.title='owned'\"></form>",
    "{{{{ 7*7 }}}}{{% for x in y %}}",
    "--><script>document.title='owned'</script><!--",
    "]]><script>document.title='owned'</script>",
    "&lt;script&gt;document.title='owned'&lt;/script&gt;",
    "javascript:document.title='owned'",
)  # fmt: skip


@dataclass
class Server:
    """A server on this machine, and the paths that it was asked for."""

    port: int
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known.asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known = Server(listening.server_port)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield known
    listening.shutdown()
    thread.join()
    listening.server_close()


def shown(path: Path, folder: Path) -> str:
    """The page as the browser has it after its scripts, if any, have run."""
    assert BROWSER is not None
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=3000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def title_of(page: str) -> str:
    return page.partition("<title>")[2].partition("</title>")[0]


def hostile_report(folder: Path, text: str) -> Path:
    """The report of a run that has a text in every place that is not a number."""
    views = hostile_search(text), search_view("plain", evaluations=2)
    return reported(folder, *views, **hostile_identity(text)).path("report.html")


def test_no_script_runs_and_no_request_leaves(tmp_path: Path, server: Server) -> None:
    text = " ".join(payload.format(url=server.url) for payload in PAYLOADS)
    report = hostile_report(tmp_path / "run", text)
    page = shown(report, tmp_path)
    assert server.asked == []
    assert title_of(page).startswith("Pareto report: ")  # a script of ours would have made it `OWNED`
    given = Page(report.read_text(encoding="utf-8"))
    seen = {
        tag
        for tag in ("<script", "<iframe", "<img", "<object", "<embed", "<video", "<base", "<form", "<link", "<image")
        if tag in page
    }
    assert seen == set()
    assert page.count("<svg") == len(given.all("svg"))
    assert page.count("<style") == 1
    assert page.count("http-equiv") == len(
        [tag for tag, own in given.tags if tag == "meta" and "http-equiv" in own]
    ) + page.count("&lt;meta http-equiv")


STOPPED = [payload for payload in PAYLOADS[:11] if "onmouseover" not in payload and "refresh" not in payload]
"""What the policy stops by itself. No policy keeps a page from sending its reader elsewhere by a refresh, nor does it mind attributes
that wait for the mouse."""


@pytest.mark.parametrize("payload", STOPPED)
def test_the_policy_holds_where_escaping_would_fail(payload: str, tmp_path: Path, server: Server) -> None:
    """The second line of defence: the same texts as markup. Without the policy, each runs a script or asks for something."""
    markup = payload.format(url=server.url)
    report = reported(tmp_path / "run", search_view(evaluations=1)).path("report.html").read_text(encoding="utf-8")
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy"[^>]*>', report)
    for name, head in (("with", policy), ("without", "")):
        place = tmp_path / f"{name}.html"
        text = f'<!DOCTYPE html><html><head><meta charset="utf-8">{head}<title>Pareto report</title></head><body><p title="{markup}">{markup}</p></body></html>'
        place.write_text(text, encoding="utf-8")
        server.asked.clear()
        title = title_of(shown(place, tmp_path / name))
        harmed = title == OWNED or bool(server.asked)
        assert harmed == (name == "without"), (name, title, server.asked)
