"""Objects on real servers, and how to reach them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.parts import azurite, seaweedfs

from tachograph.bucket.credentials import Unusable
from tachograph.bucket.objects import PIECE, Objects
from tachograph.errors import Error
from tachograph.sinks import Retry


def test_objects(url, tmp_path):
    objects = Objects(url)
    assert list(objects.listed()) == []
    assert objects.create("a/one", b"1")
    assert not objects.create("a/one", b"2")
    assert objects.read("a/one") == b"1"
    objects.put("a/one", b"three")
    assert (objects.size("a/one"), objects.size("a/two")) == (5, None)
    assert objects.read_range("a/one", 1, 3) == b"hre"
    for path in ("a/two", "a-b/three", "b/c/four"):
        objects.create(path, b"")
    assert sorted(one.path for one in objects.listed()) == ["a-b/three", "a/one", "a/two", "b/c/four"]
    assert [one.path for one in objects.listed("a")] == ["a/one", "a/two"]
    assert [one.path for one in objects.listed("a", after="a/one")] == ["a/two"]
    assert sorted(objects.folders()) == ["a", "a-b", "b"]
    assert objects.folders("b") == ["b/c"]
    objects.delete(["a/one", "a/none", "a/two"])
    objects.delete(["a/none"])
    assert list(objects.listed("a")) == []
    for read in (objects.read, lambda path: objects.read_range(path, 0, 1), lambda path: list(objects.pieces(path))):
        with pytest.raises(FileNotFoundError):
            read("a/one")


def test_more_than_a_page(s3):
    objects = Objects(s3)
    paths = [f"many/{number:05}" for number in range(2300)]
    for path in paths:
        objects.create(path, b"")
    assert [one.path for one in objects.listed("many")] == paths
    assert [one.path for one in objects.listed("many", paths[1100])] == paths[1101:]


def test_a_file_in_pieces(url, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * (2 * PIECE // 256) + b"rest")
    objects = Objects(url)
    objects.create_file("file", path)
    assert b"".join(objects.pieces("file")) == path.read_bytes()
    assert b"".join(objects.pieces("file", PIECE - 1, PIECE + 2)) == path.read_bytes()[PIECE - 1 : 2 * PIECE + 1]


def fault(url: str) -> str:
    """What each kind of request says, in one line."""
    objects = Objects(url)
    said = set()
    for request in (
        lambda: objects.create("x", b""), lambda: objects.read("x"), lambda: list(objects.listed()),
        lambda: objects.put_pieces("x", iter([b"x"])),
    ):  # fmt: skip
        with pytest.raises(Retry) as error:
            request()
        said.add(str(error.value))
    [one] = said
    assert "\n" not in one
    assert one.startswith(objects.name)
    return one


def test_a_bucket_that_is_not_there(s3, az):
    assert "create it" in fault("s3://no-such-bucket/x")
    assert "create it" in fault("az://no-such-bucket/x")


def test_wrong_credentials(s3, az, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    assert "403 SignatureDoesNotMatch" in fault(s3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong-key")
    assert "403 InvalidAccessKeyId" in fault(s3)
    monkeypatch.setenv("AZURE_STORAGE_KEY", "d3JvbmctY29kZQ==")
    assert "403 AuthorizationFailure" in fault(az)


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [("http://127.0.0.1:1", "connection refused"), ("https://no.such.host.invalid", "host is not known")],
)
def test_a_server_that_is_not_there(endpoint, why, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-mine")
    said = fault("s3://bucket/x")
    assert why in said
    assert endpoint in said
    assert "secret" not in said


def test_no_secret_of_a_signed_address_is_told(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "somebody")
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2023-11-03&sig=SECRET")
    assert "SECRET" not in fault("az://container/x")


@pytest.mark.parametrize("url", ["s3://", "s3://key:secret@bucket", "s3://b?x=secret", "gs://b#x", "ftp://b"])
def test_what_can_be_no_bucket(url):
    with pytest.raises(Unusable, match="URL") as error:
        Objects(url)
    assert isinstance(error.value, ValueError)
    assert "secret" not in str(error.value)


# -- what the clouds' own tools keep --


def profile(home: Path, credentials: str = "", config: str = "") -> None:
    (home / ".aws").mkdir(parents=True)
    (home / ".aws" / "credentials").write_text(credentials)
    (home / ".aws" / "config").write_text(config)


def test_profiles(s3, tmp_path, monkeypatch):
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(variable)
    keys = f"aws_access_key_id = {seaweedfs.KEY}\naws_secret_access_key = {seaweedfs.SECRET}\n"
    place = f"region = eu-west-1\nendpoint_url = {seaweedfs.running().endpoint}\n"
    credentials = f"[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n[team]\n{keys}"
    profile(tmp_path / "home", credentials, f"[default]\n{place}[profile team]\n{place}")
    assert "403" in fault(s3)
    monkeypatch.setenv("AWS_PROFILE", "team")
    assert Objects(s3).create("x", b"")
    monkeypatch.setenv("AWS_PROFILE", "nobody's")
    with pytest.raises(Unusable, match="no such profile"):
        Objects(s3)


def test_a_profile_that_logs_in(tmp_path, monkeypatch):
    profile(tmp_path / "home", config="[default]\nsso_session = mine\n")
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Unusable, match="pip install boto3"):
        Objects("s3://bucket")


def test_a_damaged_profile(tmp_path):
    profile(tmp_path / "home", "no section\n")
    with pytest.raises(Unusable, match="can't be read"):
        Objects("s3://bucket")


def test_azure_connection_strings(az, monkeypatch):
    for variable in azurite.running().environment:
        monkeypatch.delenv(variable)
    with pytest.raises(Unusable, match="AZURE_STORAGE_ACCOUNT"):
        Objects(az)
    parts = f"AccountName={azurite.ACCOUNT};AccountKey={azurite.KEY};BlobEndpoint={azurite.running().endpoint}/;"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"DefaultEndpointsProtocol=http;{parts}")
    assert Objects(az).create("x", b"")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=a;AccountKey=%%%")
    with pytest.raises(Unusable, match="Invalid Access Key"):
        Objects(az)


def test_google(monkeypatch, tmp_path):
    assert Objects("gs://bucket/prefix").name == "gs://bucket/prefix"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(Unusable, match=r"none\.json"):
        Objects("gs://bucket")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("GOOGLE_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    with pytest.raises(Retry, match="connection refused"):
        Objects("gs://bucket/prefix").read("x")


# -- the client --


def test_without_the_client(script):
    told = script("""
        import sys
        sys.modules["obstore"] = None
        from tachograph.bucket.objects import Objects
        try:
            Objects("s3://bucket")
        except ValueError as error:
            print(error)
    """)
    assert told.stdout.strip() == "s3:// URLs need a part that is missing: pip install 'tachograph[cloud]'", told.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_does_not_hang(s3, script):
    told = script(f"""
        import os
        from tachograph.bucket.objects import Objects
        objects = Objects({s3!r})
        objects.create("x", b"")
        if os.fork() == 0:
            try:
                objects.read("x")
            except Exception as error:
                print(type(error).__name__, error, flush=True)
            os._exit(0)
        os.wait()
    """)
    assert "Retry" in told.stdout, told.stderr
    assert "forked" in told.stdout
    told = script(f"""
        import os
        import tachograph
        store = tachograph.open_store({s3!r})
        store.runs()
        if os.fork() == 0:
            try:
                store.runs()
            except tachograph.Error as error:
                print(error, flush=True)
            os._exit(0)
        os.wait()
    """)
    assert "forked" in told.stdout, told.stderr


def test_open_store_says_what_is_missing():
    code = "import sys; sys.modules['obstore'] = None; import tachograph; tachograph.open_store('s3://bucket')"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.stderr.splitlines()[-1].endswith("pip install 'tachograph[cloud]'")
    assert issubclass(Unusable, Error)
