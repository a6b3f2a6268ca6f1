"""Who may ask, what may be written, and that nothing in a run is more than data."""

from __future__ import annotations

import base64
import re
import socket
import threading
from html.parser import HTMLParser
from queue import Queue
from urllib.parse import urlencode

import pytest
from starlette.testclient import TestClient

from relay_models.errors import InvalidConfigurationError
from relay_models.sync import RedisBackend
from relay_models.web import create_app, serve_web
from tests.web.hostile import ATTACKS


class _Tags(HTMLParser):
    """Collects what of a page could run or load something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.headlines = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.headlines += tag == "h1"
        for name, value in attributes:
            text = value or ""
            if name.startswith("on") or name == "style":
                self.found.append(f"{tag} {name}={text[:60]}")
            elif name in ("href", "src", "action", "xlink:href"):
                inside = text.startswith(("/", "?", "#", "data:image/")) or text in ("", "data:,")
                if not inside or text.startswith("//"):
                    self.found.append(f"{tag} {name}={text[:60]}")
        if tag in ("script", "style", "iframe", "object", "embed", "base", "foreignobject") and (
            tag != "script" or dict(attributes).get("src") not in ("/static/app.js", "/static/theme.js")
        ):
            self.found.append(tag)


def dangers(page: str) -> list[str]:
    parser = _Tags()
    parser.feed(page)
    assert parser.headlines == 1
    return parser.found


def hostile_pages(store: RedisBackend) -> list[str]:
    runs = list(store.find_runs(limit=50))
    ids = [str(run.run_id) for run in runs]
    names = "agent_id,run_id,status,models,tools,providers,finish_reasons,cost"
    pages = ["/runs", f"/runs?columns={names}", "/numbers?filter=all", "/agents", "/saved", "/sessions", "/models"]
    pages += ["/models/feedback"]
    pages += [f"/models/feedback/item?{urlencode({'id': text or 'empty'})}" for text in ATTACKS]
    pages += [f"/runs/{run_id}" for run_id in ids]
    pages += [f"/compare?run={one}&run={two}" for one, two in zip(ids, ids[1:] + ids[:1], strict=True)]
    for text in ATTACKS:
        pages += [f"{path}?{urlencode({name: text})}" for path, name in (
            ("/runs", "filter"), ("/runs", "order"), ("/runs", "columns"), ("/runs", "after"), ("/runs", "saved"),
            ("/numbers", "filter"), ("/numbers", "every"), ("/numbers", "by"), ("/agents/agent", "id"),
            ("/compare", "run"), ("/compare", "left"), ("/numbers", "saved"), ("/sessions", "filter"),
            ("/sessions", "before"),
            ("/models/feedback", "filter"), ("/models/feedback", "order"), ("/models/feedback/item", "id"),
        )]  # fmt: skip
    return pages


def test_no_text_of_a_run_or_a_url_is_more_than_data(hostile_client: TestClient, hostile_store: RedisBackend) -> None:
    for path in hostile_pages(hostile_store):
        answer = hostile_client.get(path, follow_redirects=True)
        assert answer.status_code in (200, 400, 404), (path, answer.text)
        assert not dangers(answer.text), path
        assert "1337" not in answer.text, path


def test_hostile_values_lead_to_their_own_runs(hostile_client: TestClient, hostile_store: RedisBackend) -> None:
    from html import unescape

    page = hostile_client.get("/runs?limit=100").text
    narrow = [unescape(link) for link in re.findall(r'class="tag[^"]*" href="([^"]+)"', page) if "agent_id" in link]
    assert len(narrow) >= len(ATTACKS) - 1
    for link in narrow:
        found = re.findall(r'data-row="([^"]+)"', hostile_client.get(link).text)
        assert len(found) == 1, link


def test_images_of_messages_are_shown_only_as_data(hostile_client: TestClient, hostile_store: RedisBackend) -> None:
    run = hostile_store.find_runs(limit=1)[0]
    page = hostile_client.get(f"/runs/{run.run_id}").text
    assert set(re.findall(r'<img src="([^;"]+)', page)) == {"data:image/png"}


def test_every_answer_has_a_strict_policy(client: TestClient) -> None:
    for path in ("/runs", "/static/app.js", "/nowhere", "/runs/export", "/runs/complete.json"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "192.168.0.7", ""])
def test_other_host_names_are_refused_without_a_password(client: TestClient, host: str) -> None:
    assert client.get("/runs", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "[::1]:8080", "LOCALHOST:1"])
def test_loopback_host_names_are_served(client: TestClient, host: str) -> None:
    assert client.get("/runs", headers={"host": host}).status_code == 200


def test_a_password_is_asked_for(store: RedisBackend) -> None:
    client = TestClient(create_app(store, password="pässword"), base_url="http://runs.example")
    assert client.get("/runs").status_code == 401
    assert "Basic" in client.get("/runs").headers["www-authenticate"]

    def status(value: str) -> int:
        token = base64.b64encode(value.encode()).decode()
        code: int = client.get("/runs", headers={"authorization": f"Basic {token}"}).status_code
        return code

    assert status("anyone:pässword") == 200
    assert status("anyone:wrong") == 401
    assert status("pässword") == 401
    assert client.get("/runs", headers={"authorization": "Basic !!!"}).status_code == 401
    assert client.get("/static/app.css").status_code == 401


def test_many_wrong_passwords_are_not_listened_to(store: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    client = TestClient(create_app(store, password="right"), base_url="http://runs.example", client=("10.0.0.1", 1))
    other = TestClient(client.app, base_url="http://runs.example", client=("10.0.0.2", 1))
    for _ in range(30):
        assert client.get("/agents", auth=("", "wrong")).status_code == 401
    refused = client.get("/agents", auth=("", "right"))
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert other.get("/agents", auth=("", "right")).status_code == 200
    monkeypatch.setattr("relay_models.web.security.PER_SECONDS", 0.0)
    assert client.get("/agents", auth=("", "right")).status_code == 200


def test_asking_without_a_password_counts_as_no_wrong_one(store: RedisBackend) -> None:
    client = TestClient(create_app(store, password="right"), base_url="http://runs.example")
    for _ in range(40):
        assert client.get("/agents").status_code == 401
    assert client.get("/agents", auth=("", "right")).status_code == 200


def test_listening_for_others_needs_a_password(store: RedisBackend) -> None:
    with pytest.raises(InvalidConfigurationError, match="set a password"):
        serve_web(store, host="0.0.0.0")


def test_a_form_needs_the_token_of_this_process(empty: RedisBackend) -> None:
    client = TestClient(create_app(empty), base_url="http://localhost", follow_redirects=False)
    form = {"name": "x", "filter": "", "columns": "", "order": ""}
    assert client.post("/saved/save", data=form).status_code == 403
    assert client.post("/saved/save", data={**form, "token": "guessed"}).status_code == 403
    (token,) = set(re.findall(r'name="token" value="([^"]+)"', client.get("/runs").text))
    elsewhere = {"sec-fetch-site": "cross-site"}
    assert client.post("/saved/save", data={**form, "token": token}, headers=elsewhere).status_code == 403
    assert client.post("/saved/save", data={**form, "token": token, "more": "x" * 100_000}).status_code == 413
    assert empty.saved.all() == []


def test_nothing_else_is_written(client: TestClient) -> None:
    for path in ("/runs", "/runs/export", "/numbers", "/agents", "/compare", "/saved"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert client.request(method, path).status_code == 405


def test_a_read_only_page_has_no_forms_that_write(empty: RedisBackend) -> None:
    client = TestClient(create_app(empty, read_only=True), base_url="http://localhost")
    assert 'method="post"' not in client.get("/runs").text + client.get("/saved").text
    assert client.post("/saved/save", data={"name": "x"}).status_code in (404, 405)


def test_clients_that_never_finish_a_request_are_sent_away(
    empty: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_models.web.serving.MOST_SECONDS", 0.3)
    monkeypatch.setattr("relay_models.web.site.FORM_SECONDS", 0.3)
    urls: Queue[str] = Queue()
    # Interrupting it is for a process of its own; here it ends with the tests.
    threading.Thread(target=serve_web, args=[empty], kwargs={"port": 0, "ready": urls.put}, daemon=True).start()
    port = int(urls.get(timeout=30).rstrip("/").rpartition(":")[2])
    head = b"Host: 127.0.0.1\r\n"
    for begun, answer in (
        (b"", b""),
        (b"GET /saved HTTP/1.1\r\n" + head, b""),
        (b"POST /saved/save HTTP/1.1\r\n" + head + b"Content-Length: 9\r\n\r\nto", b"HTTP/1.1 408"),
        # A second request on a connection, after one that was answered.
        (b"GET /static/theme.js HTTP/1.1\r\n" + head + b"\r\nGET /sav", b"HTTP/1.1 200"),
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(begun)
            said = b""
            while part := client.recv(65_536):
                said += part
            assert said[: len(answer)] == answer
            assert answer or not said
