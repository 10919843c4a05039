"""The real server on a real socket, asked by a real HTTP client."""

import http.client
import json
import re
import socket
import threading
from contextlib import contextmanager

import pytest

from launch.page.server import bound, server
from launch.page.watch import Watch
from tests.launch.page.made import EVIL, begin, launched, settle, study_of


@contextmanager
def serving(workspace, study, port=0):
    """The port of a server that runs until the end of the block; 0 takes a free one."""
    place, watch = bound(port), Watch(workspace, study)
    watch.start()
    running = server(watch, study)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [place]})
    thread.start()
    try:
        yield place.getsockname()[1]
    finally:
        running.should_exit = True
        thread.join()
        watch.stop()
        place.close()


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    study = study_of(question=EVIL, arm="<b>arm</b>")
    workspace = launched(tmp_path_factory.mktemp("root"), study)
    settle(workspace, study.cells[3].run, status="failed", message=f"<script>alert(1)</script>{EVIL}")
    begin(workspace, study.cells[4].run, steps=10)
    with serving(workspace, "made") as found:
        yield found


def ask(port, path="/", method="GET", host=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body=body, headers={"Host": host or f"127.0.0.1:{port}"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer, text


def own_addresses():
    """By which other machines would call this one; none where its name leads nowhere."""
    try:
        return socket.gethostbyname_ex(socket.gethostname())[2]
    except OSError:
        return []


def test_it_listens_on_the_loopback_address_alone(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    for other in {"127.0.0.2", *own_addresses()} - {"127.0.0.1"}:
        with pytest.raises(OSError):  # refused; some systems have no 127.0.0.2 at all
            socket.create_connection((other, port), timeout=5)


def test_the_page_holds_every_part_and_names_their_marks(port):
    answer, text = ask(port)
    assert answer.status == 200 and answer.getheader("content-type") == "text/html; charset=utf-8"
    marks = dict(re.findall(r"<div id='(\w+)' data-mark='(\w+)'>", text))
    assert list(marks) == ["head", "now", "curves", "law", "next", "runs"]
    answer, text = ask(port, "/state")
    assert json.loads(text)["marks"].keys() == marks.keys()
    answer, text = ask(port, "/part/now")
    assert answer.getheader("x-mark") == json.loads(ask(port, "/state")[1])["marks"]["now"] and "Went wrong" in text


def test_foreign_text_stays_text(port):
    _, text = ask(port)
    body = re.sub(r"(?s)<script>.*?</script></body>|<style>.*?</style>", "", text)
    assert "<script" not in body and "<img" not in body and "<b>arm" not in body
    assert "&lt;script&gt;alert(1)" in body and "&lt;img src=x onerror=alert(1)&gt;" in body and "&lt;b&gt;arm" in body
    assert "Access-Control-Allow-Origin" not in text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8400", "127.0.0.1.evil.example", "0.0.0.0", "[::1]"])
def test_a_foreign_name_that_leads_here_is_refused(port, host):
    answer, text = ask(port, "/state", host=host)
    assert answer.status == 400 and "marks" not in text


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:9000"])
def test_it_may_be_called_through_a_tunnel_from_another_port(port, host):
    assert ask(port, host=host)[0].status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/state", "/part/now", "/nowhere"])
def test_nothing_but_reading_is_answered(port, method, path):
    answer, _ = ask(port, path, method=method, body="x" if method == "POST" else None)
    assert answer.status == 405 and answer.getheader("allow") == "GET"


@pytest.mark.parametrize(
    "path",
    [
        "/part/nothing", "/part/", "/part/now/", "/part/../../runs", "/part/..%2f..%2fetc%2fpasswd", "/runs",
        "/static/x", "/studies/made.json", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd", "/state/", "/docs",
    ],
)  # fmt: skip
def test_no_other_address_leads_anywhere(port, path):
    answer, text = ask(port, path)
    assert answer.status == 404 and "root:" not in text


@pytest.mark.parametrize(("path", "method"), [("/", "GET"), ("/state", "GET"), ("/gone", "GET"), ("/", "POST")])
def test_every_answer_binds_the_browser(port, path, method):
    answer, _ = ask(port, path, method=method)
    policy = answer.getheader("content-security-policy")
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and "form-action 'none'" in policy and "base-uri 'none'" in policy
    assert answer.getheader("x-content-type-options") == "nosniff" and answer.getheader("cache-control") == "no-store"
    assert answer.getheader("cross-origin-resource-policy") == "same-origin"
    assert answer.getheader("access-control-allow-origin") is None and answer.getheader("server") is None


def test_what_is_no_http_gets_no_page(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(b"nonsense\r\n\r\n")
        assert line.recv(1000).startswith(b"HTTP/1.1 400")


def test_a_taken_port_is_said_with_what_to_do(port):
    with pytest.raises(ValueError, match=rf"--port {port}: .* in use; give another, or 0"):
        bound(port)
    with pytest.raises(ValueError, match=r"--port 70000: .*; give another, or 0"):
        bound(70000)
