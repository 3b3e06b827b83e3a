"""The server as a process: how it starts, what it says, how it ends, and what stops it from starting."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from madsci_event_server.errors import CannotServe, InvalidSettings
from madsci_event_server.protocol import MAX_HEAD_BYTES
from madsci_event_server.serving import listen
from madsci_event_server.settings import Settings
from tests.live_server import LiveServer
from tests.processes import WAIT_SECONDS, Process, free_port


def server(*options: str | Path) -> Process:
    return Process([sys.executable, "-m", "madsci_event_server", "--port", "0", *map(str, options)])


def refusal(options: Sequence[str | Path], exit_code: int) -> str:
    """What a server that does not start says: one line, on stderr."""
    with server(*options) as process:
        assert process.wait() == exit_code, process.said
        assert process.stdout.text == ""
        [line] = process.stderr.text.splitlines()
        return line


def test_one_line_says_where_it_is_and_where_events_go(lab: Path) -> None:
    with server("--db", "memory:") as process:
        line = process.stderr.line(0)
        url = line.split()[3].rstrip(",")

        assert httpx.get(f"{url}/health").json()["healthy"]
        assert "memory:" in line
        assert process.interrupt() == 0
        assert process.stdout.text == ""
        assert process.stderr.text == line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_under_an_open_connection(lab: Path, number: signal.Signals) -> None:
    with LiveServer(lab, db="memory:") as running, running.client() as client:
        assert client.post("/event", json={}).status_code == 200
        running.process.signal(number)

        assert running.process.wait() == 0
        assert len(running.process.stderr.lines) == 1


def _in_http_1_0(running: LiveServer, target: str, until: bytes = b"") -> tuple[bytes, bytes]:
    """Head and body of what comes to who knows no HTTP/1.1: all of it, or as far as this."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=WAIT_SECONDS) as connection:
        connection.sendall(b"GET %b HTTP/1.0\r\n\r\n" % target.encode())
        come = b""
        while not (until and until in come) and (part := connection.recv(1 << 16)):
            come += part
    head, _, body = come.partition(b"\r\n\r\n")
    return head.lower(), body


def test_an_answer_in_http_1_0_has_no_chunks(lab: Path) -> None:
    with LiveServer(lab, db="memory:") as running, running.client() as client:
        client.post("/event", json={"event_id": "a"})
        events = client.get("/events").json()
        for target in ("/events", "/events?number=0", "/events?number=0&level=critical"):
            head, body = _in_http_1_0(running, target)
            assert b"transfer-encoding" not in head
            assert b"connection: close" in head
            assert json.loads(body) == ({} if "critical" in target else events)
        head, body = _in_http_1_0(running, "/events/stream?last=1", until=b'"event_id"')
        assert b"transfer-encoding" not in head
        assert body.startswith(b"retry: 1000\nid: ")
        assert _in_http_1_0(running, "/nowhere")[0].startswith(b"http/1.1 404")


def test_an_answer_comes_in_one_piece(lab: Path) -> None:
    """Head and body in two writes would mostly come apart, and wake who reads twice."""
    with (
        LiveServer(lab, db="memory:") as running,
        socket.create_connection(("127.0.0.1", running.port)) as connection,
    ):
        for number in range(100):
            connection.sendall(b"POST /event HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
            answer = connection.recv(65536)

            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK"), number
            assert f"content-length: {len(body)}".encode() in head, number


def test_an_answer_under_way_is_finished_first(lab: Path) -> None:
    """A client that reads slowly gets all of it, although the server was told to stop in the middle."""
    with LiveServer(lab, db="memory:") as running, running.client() as client:
        client.post("/events", json=[{"event_data": "x" * 5000} for _ in range(400)])
        with client.stream("GET", "/events", params={"number": 0}) as answer:
            body = answer.iter_bytes(1000)
            first = next(body)
            running.process.signal(signal.SIGTERM)
            whole = first + b"".join(body)

        assert whole.startswith(b"{")
        assert whole.endswith(b"}")
        assert whole.count(b'"_id"') == 400
        assert running.process.wait() == 0


def test_a_reader_of_the_stream_that_takes_nothing_is_hung_up_on(lab: Path) -> None:
    """It comes back where it was; the server neither waits for it nor complains."""
    with LiveServer(lab, db="memory:") as running, running.client() as client:
        with socket.create_connection(("127.0.0.1", running.port)) as stalled:
            stalled.sendall(b"GET /events/stream HTTP/1.1\r\nHost: x\r\n\r\n")
            assert stalled.recv(100)
            for _ in range(20):
                client.post("/events", json=[{"event_data": "x" * 500_000}]).raise_for_status()
            running.process.signal(signal.SIGTERM)

            assert running.process.wait() == 0
        assert len(running.process.stderr.lines) == 1


def test_a_client_that_leaves_after_its_headers_makes_no_noise(lab: Path) -> None:
    with LiveServer(lab, db="memory:") as running:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", running.port)) as connection:
                connection.sendall(b"POST /event HTTP/1.1\r\nHost: x\r\nContent-Length: 258\r\n\r\n")
        with running.client() as client:
            assert client.get("/health").json()["total_events"] == 0

        assert running.stop() == 0
        assert len(running.process.stderr.lines) == 1


def test_a_batch_that_breaks_off_is_stored_as_far_as_it_came(lab: Path) -> None:
    with LiveServer(lab, db="memory:") as running:
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            lines = b"".join(b'{"event_id": "e%d"}\n' % n for n in range(1000))
            head = b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.sendall(head + b"%x\r\n%s\r\n" % (len(lines), lines))
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1000)
        with running.client() as client:
            while client.get("/health").json()["total_events"] < 1000:
                pass


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = refusal(["--db", "memory:", "--port", str(port)], 1)

    assert f"127.0.0.1:{port} is in use" in line
    assert "--port" in line


def test_a_host_that_is_not_here() -> None:
    assert "--host" in refusal(["--db", "memory:", "--host", "no-such-host.invalid"], 1)


def test_an_address_of_another_machine() -> None:
    assert "192.0.2.1" in refusal(["--db", "memory:", "--host", "192.0.2.1"], 1)


def test_a_store_nobody_has() -> None:
    assert "db" in refusal(["--db", "oracle://x"], 2)


def test_half_a_certificate(lab: Path) -> None:
    assert "--tls-key" in refusal(["--db", "memory:", "--tls-cert", lab / "cert.pem"], 2)


def test_a_certificate_that_is_none(lab: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (lab / name).write_text("nothing")

    assert "cert.pem" in refusal(["--db", "memory:", "--tls-cert", lab / "cert.pem", "--tls-key", lab / "key.pem"], 1)


def test_a_certificate(lab: Path) -> None:
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*make, "-subj", "/CN=localhost", "-days", "1"], check=True, capture_output=True, cwd=lab)

    with server("--db", "memory:", "--tls-cert", lab / "cert.pem", "--tls-key", lab / "key.pem") as process:
        url = process.stderr.line(0).split()[3].rstrip(",")

        assert url.startswith("https://")
        assert httpx.get(f"{url}/health", verify=False).status_code == 200  # noqa: S501  # made for this test


def test_an_unknown_setting_is_a_warning() -> None:
    command = [sys.executable, "-m", "madsci_event_server", "--port", "0", "--db", "memory:"]
    with Process(command, environment={"EVENT_MAX_EVENT_BYTE": "1"}) as process:
        assert "did you mean EVENT_MAX_EVENT_BYTES?" in process.stderr.line(0)
        process.stderr.line(1)
        assert process.interrupt() == 0


def test_a_setting_that_cannot_be_used_is_one_line() -> None:
    command = [sys.executable, "-m", "madsci_event_server", "--port", "0", "--db", "memory:"]
    with Process(command, environment={"EVENT_TIMEZONE": "Chicago"}) as process:
        assert process.wait() == 2
        [line] = process.stderr.text.splitlines()
        assert "EVENT_TIMEZONE" in line
        assert "America/Chicago" in line


@pytest.mark.parametrize("number", ["1k", "-5", "9" * 5000])
def test_what_is_no_number_is_refused_in_words(number: str) -> None:
    with pytest.raises(InvalidSettings, match=r"^EVENT_MAX_EVENT_BYTES: .* is not a number of bytes"):
        Settings.read({"EVENT_MAX_EVENT_BYTES": number})


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("sqlite:///x.db?mode=ro", "leave out '?mode=ro', or write %3F for a question mark"),
        ("sqlite:///:memory:", "write memory: for a store in memory"),
        (
            "oracle://ada:hush@host/events",
            "'oracle://***@host/events' is not an address of a store; use sqlite:///PATH",
        ),
    ],
)
def test_an_address_of_no_store_is_named_as_it_was_given(address: str, words: str, lab: Path) -> None:
    for flags, environment, name in (
        ({"db_url": address}, {}, "--db: "),
        ({}, {"EVENT_DB_URL": address}, "EVENT_DB_URL: "),
    ):
        with pytest.raises(InvalidSettings, match=f"^{name}") as refused:
            Settings.read(environment, flags=flags)

        assert words in str(refused.value)
    assert not list(lab.iterdir())


def test_a_name_with_two_addresses_listens_on_both_with_one_port() -> None:
    sockets = listen("localhost", 0)
    try:
        assert len({made.getsockname()[1] for made in sockets}) == 1
        assert len({made.family for made in sockets}) == len(sockets)
    finally:
        for made in sockets:
            made.close()


def test_all_sockets_are_closed_when_one_cannot_be_had() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(CannotServe, match="in use"):
        listen("localhost", port)


@pytest.mark.parametrize("length", [b"Content-Length: 8000000", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("header", [b"X-Nothing: 1", b"Content-Encoding: gzip"])
def test_who_still_sends_what_is_refused_hears_why(lab: Path, length: bytes, header: bytes) -> None:
    """Also where the connection ends with the answer, as Python's urllib asks for."""
    whole = b"x" * 8_000_000
    body = whole if b"Length" in length else b"%x\r\n%b\r\n0\r\n\r\n" % (len(whole), whole)
    head = b"\r\n".join([b"POST /event HTTP/1.1", b"Host: x", b"Connection: close", header, length])
    with LiveServer(lab, db="memory:") as running:
        _, said = exchange(running.port, head + b"\r\n\r\n" + body)

    assert str(said["detail"]).startswith(("body: is larger than 1048576 bytes", "Content-Encoding: 'gzip' is not"))


def test_who_still_sends_what_is_not_read_on_hears_why(lab: Path) -> None:
    head = b"POST /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 16000000\r\n\r\n"
    with LiveServer(lab, db="memory:") as running:
        status, said = exchange(running.port, head + b"no\n" * 5_333_333 + b"\n")

    assert status == b"HTTP/1.1 200 OK"
    assert "nothing from here on was read" in str(said["rejected"])


def test_who_asks_before_sending_is_told_not_to(lab: Path) -> None:
    head = b"POST /event HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 8000000"
    with LiveServer(lab, db="memory:") as running:
        status, _ = exchange(running.port, head + b"\r\n\r\n")

    assert status.startswith(b"HTTP/1.1 413 ")


def exchange(port: int, request: bytes) -> tuple[bytes, dict[str, object]]:
    """The status line and the JSON of what the server says before it hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.partition(b"\r\n")[0], json.loads(body)


@pytest.mark.parametrize(
    "request_",
    [
        "GET /events?search=stra\u00dfe HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        b"GET /events?search=" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /event HTTP/1.1\r\nHost: x\r\nContent-Length: two\r\n\r\n{}",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_in_the_shape_of_every_refusal(lab: Path, request_: bytes) -> None:
    with LiveServer(lab, db="memory:") as running:
        status, said = exchange(running.port, request_)

    assert status == b"HTTP/1.1 400 Bad Request"
    assert "percent-encode what is not ASCII" in str(said["detail"])
    assert said["errors"] == []


def test_headers_without_end_are_hung_up_on(lab: Path) -> None:
    with LiveServer(lab, db="memory:") as running, running.client() as client:
        status, said = exchange(running.port, b"GET /health HTTP/1.1\r\nX-Long: " + b"x" * MAX_HEAD_BYTES)

        assert status == b"HTTP/1.1 431 Request Header Fields Too Large"
        assert "larger than 262144 bytes" in str(said["detail"])
        long = {"X-Long": "x" * 100_000}
        assert [client.get("/health", headers=long).status_code for _ in range(4)] == [200] * 4
        assert client.post("/events", json=["x" * 500_000] * 3).status_code == 200
