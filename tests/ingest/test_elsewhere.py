"""Logs that are no local files: standard input, and a real S3 server on this machine's loopback."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from mapped import record, tree, write_log, write_mapping
from shadowprice.errors import ConfigError
from shadowprice.ingest.elsewhere import is_url
from shadowprice.ingest.files import find_inputs
from shadowprice.ingest.pipeline import ingest

PIECES = ("s3fs", "moto", "boto3")
ABSENT = [name for name in PIECES if importlib.util.find_spec(name) is None]
needs_s3 = pytest.mark.skipif(
    bool(ABSENT), reason=f"needs {', '.join(ABSENT)}: pip install '.[s3]' 'moto[server]'"
)

SERVE = """
import sys, threading
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""
FILL = """
import boto3, sys
from pathlib import Path
s3 = boto3.client("s3")
s3.create_bucket(Bucket="logs")
root = Path(sys.argv[1])
for path in sorted(root.rglob("*.jsonl")):
    s3.upload_file(str(path), "logs", "day/" + path.relative_to(root).as_posix())
s3.put_object(Bucket="logs", Key="day/", Body=b"")
s3.put_object(Bucket="logs", Key="day2/other.jsonl", Body=b"{}")
s3.put_object(Bucket="logs", Key="day/.hidden", Body=b"{}")
"""
READ = """
import sys
from shadowprice.ingest import intake
from shadowprice.ingest.pipeline import ingest
url, out, mapping = sys.argv[1:]
whole, copied = intake.copy, []
def counted(place, target, *, heard):
    copied.append(place.url)
    return whole(place, target, heard=heard)
intake.copy = counted
said = []
store = ingest(url, out=out, mapping=mapping, progress=lambda *step: said.append(step))
assert [s[0] for s in said] == sorted(s[0] for s in said) and said[-1][0] == said[-1][1]
print(len(copied), store.manifest["counts"]["decisions"], [r["name"] for r in store.manifest["refused"]])
"""


class Piped(io.BytesIO):
    """Standard input with `body`, that is a terminal or not."""

    def __init__(self, body: bytes, *, terminal: bool = False) -> None:
        super().__init__(body)
        self.buffer, self._terminal = self, terminal

    def isatty(self) -> bool:
        return self._terminal


def test_standard_input_is_read_like_a_file_and_leaves_no_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills a pipe that is not read, and a copy of the raw log that stays in the store."""
    log = write_log(tmp_path / "stdin", [record(n) for n in range(20)])
    mapping = write_mapping(tmp_path)
    monkeypatch.setattr(sys, "stdin", Piped(log.read_bytes()))
    ingest(["-", "-"], out=tmp_path / "piped", mapping=mapping)
    ingest(log, out=tmp_path / "file", mapping=mapping)
    assert tree(tmp_path / "piped") == tree(tmp_path / "file")


def test_a_terminal_as_standard_input_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills a command that waits for ever for someone to type a log."""
    monkeypatch.setattr(sys, "stdin", Piped(b"", terminal=True))
    with pytest.raises(ConfigError, match="standard input is a terminal"):
        ingest("-", out=tmp_path / "out")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://example.org/log", "URLs of kind 'http' are not read"),
        ("file:///etc/passwd", "URLs of kind 'file' are not read"),
        ("simplecache::s3://b/k", "are not read"),
        ("s3://key:hunter2@bucket/k", "credentials"),
        ("s3://", "without a bucket"),
        ("s3://*/k", "pattern for the bucket"),
    ],
)
def test_a_url_that_is_no_object_store_is_refused_before_anything_is_reached(url: str, told: str) -> None:
    """Kills a download of anything, a chain of file systems, and a password in a message."""
    assert is_url(url)
    with pytest.raises(ConfigError, match=told) as caught:
        find_inputs([url])
    assert "hunter2" not in str(caught.value)


def test_a_store_whose_package_is_absent_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills an ImportError for whoever did not install the extra."""
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r"package gcsfs is not installed.* pip install gcsfs"):
        find_inputs(["gs://bucket/logs"])


@pytest.fixture
def s3() -> Generator[dict[str, str]]:
    """The environment that leads to an S3 server in a process of its own, on loopback."""
    blank = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=blank,
    )
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    yield {
        **blank,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server.communicate(timeout=30)


def python(script: str, *args: str | Path, env: dict[str, str]) -> str:
    """What the script printed, run in a process of its own."""
    command = [sys.executable, "-c", script, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@needs_s3
@pytest.mark.slow
def test_objects_are_read_like_files_and_copied_again_only_when_they_changed(
    s3: dict[str, str], tmp_path: Path
) -> None:
    """Kills another store than that of the same files, a neighbouring prefix, and a second download."""
    logs = tmp_path / "logs"
    write_log(logs / "a.jsonl", [record(n) for n in range(20)])
    write_log(logs / "sub" / "b.jsonl", [record(n) for n in range(20, 50)])
    mapping = write_mapping(tmp_path)
    python(FILL, logs, env=s3)
    out = tmp_path / "out"
    assert python(READ, "s3://logs/day", out, mapping, env=s3) == "2 50 ['.hidden']"
    before = tree(out)
    assert python(READ, "s3://logs/day/", out, mapping, env=s3) == "0 50 ['.hidden']"
    assert tree(out) == before
    write_log(logs / "c.jsonl", [record(n) for n in range(50, 55)])
    python(FILL, logs, env=s3)
    assert python(READ, "s3://logs/day", out, mapping, env=s3) == "1 55 ['.hidden']"
    assert python(READ, "s3://logs/day/**/b.jsonl", tmp_path / "b", mapping, env=s3) == "1 30 []"
    assert python(READ, "s3://logs/day/a.jsonl", tmp_path / "a", mapping, env=s3) == "1 20 []"
    local = ingest(logs / "a.jsonl", out=tmp_path / "local", mapping=mapping)
    assert tree(local.path / "decisions") == tree(tmp_path / "a" / "store" / "decisions")


@needs_s3
@pytest.mark.slow
def test_a_store_that_says_no_is_one_clear_error(s3: dict[str, str], tmp_path: Path) -> None:
    """Kills a traceback of a client library, and a secret in it."""
    run = [sys.executable, "-m", "shadowprice", "ingest", "--out", str(tmp_path / "out"), "--quiet"]
    for url in ("s3://absent-bucket/logs", "s3://absent-bucket"):
        done = subprocess.run([*run, url], capture_output=True, text=True, check=False, env=s3)
        assert done.returncode == 2
        assert done.stderr.startswith("IngestError: s3://absent-bucket")
        assert "Traceback" not in done.stderr
        assert "testing" not in done.stderr
