"""Stores to try a mirror on: memory, a folder, and, where moto and s3fs are installed, a server that speaks S3."""

import threading
import zlib
from importlib.util import find_spec

import pytest

from scaling.mirror.bucket import Bucket, bucket_of

S3 = pytest.param("s3", marks=pytest.mark.skipif(not (find_spec("moto") and find_spec("s3fs")), reason="no moto, s3fs"))


@pytest.fixture(scope="session")
def s3_server():
    """The address of moto's server on loopback. It answers one request at a time, so a conditional put is one step."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(params=["memory", "file", S3])
def store(request, tmp_path, monkeypatch) -> Bucket:
    """An empty one."""
    match request.param:
        case "memory":
            import fsspec

            fsspec.filesystem("memory").store.clear()
            return bucket_of("memory://lab")
        case "file":
            return bucket_of(f"file://{tmp_path}/store")
        case "s3":
            return _on_s3(request.getfixturevalue("s3_server"), request.node.name, monkeypatch)


def _on_s3(address: str, name: str, monkeypatch) -> Bucket:
    import s3fs

    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    bucket = f"lab-{zlib.crc32(name.encode())}"
    s3fs.S3FileSystem(use_listings_cache=False).mkdir(bucket)
    return bucket_of(f"s3://{bucket}/folder")
