"""Results of others by address: fetched over https for one report, checked like any file, and gone afterwards."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from rtxbench.errors import UsageError
from rtxbench.report.render import shared
from rtxbench.report.render.output import load_runs
from rtxbench.report.render.shared import fetched
from tests.synthetic import LAPTOP, write_results


class _Answers(BaseHTTPRequestHandler):
    """One results file, one redirect to plain http, one that breaks off, and nothing else."""

    def __init__(self, data: bytes, *args: object) -> None:
        self._data = data
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/run.jsonl")  # type: ignore[index]
            self.end_headers()
            return
        self.send_response(200 if self.path in ("/run.jsonl", "/short") else 404)
        self.send_header("Content-Length", str(len(self._data)))
        self.end_headers()
        self.wfile.write(self._data if self.path == "/run.jsonl" else self._data[:100])

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on 127.0.0.1 with a certificate of its own, which the process is told to trust."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("https")
    (run,) = write_results(folder / "results", (LAPTOP,), traces=False).rglob("*.jsonl")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Answers, run.read_bytes()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
    patch = pytest.MonkeyPatch()
    patch.setenv("SSL_CERT_FILE", str(certificate))
    yield f"https://127.0.0.1:{server.server_address[1]}"
    patch.undo()
    server.shutdown()
    server.server_close()


def test_a_file_behind_an_https_address_is_read_like_any_other(address: str) -> None:
    """It is there while the report is made, holds the records, and is removed afterwards."""
    with fetched([f"{address}/run.jsonl"]) as (path,):
        (loaded,) = load_runs([path]).runs
        assert loaded.run.environment.machine == LAPTOP.machine
    assert not path.exists()


@pytest.mark.parametrize("wrong", ["/missing.jsonl", "/short", "/away", "/a b"])
def test_an_address_that_gives_no_file_is_one_sentence(address: str, wrong: str) -> None:
    """Not found, broken off, led to plain http, or no address at all: said with what to do."""
    with pytest.raises(UsageError, match=r"fetched|leads"), fetched([address + wrong]):
        pass


def test_a_certificate_that_nobody_trusts_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the server's certificate among the trusted ones nothing is fetched."""
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(UsageError, match="certificate"), fetched([f"{address}/run.jsonl"]):
        pass


def test_a_file_without_end_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the limit is read."""
    monkeypatch.setattr(shared, "_MOST_BYTES", 1_000)
    with pytest.raises(UsageError, match="larger"), fetched([f"{address}/run.jsonl"]):
        pass


def test_plain_http_is_no_address() -> None:
    """What anyone on the way could change is not fetched."""
    with pytest.raises(UsageError, match="neither a file"), fetched(["http://127.0.0.1/run.jsonl"]):
        pass
