import os
import secrets
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from leechcodec.codec.paths import models_dir

os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's workers wait for everybody else, and tests for them

# No test is timed: a busy machine breaks nothing.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items) -> None:
    """What a test asks for says which kind it is: a Chromium, or the released weights."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "chromium" in fixtures:
            item.add_marker(pytest.mark.browser)
        if "released" in fixtures:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A released model folder with tiny untrained weights."""
    from leechcodec.codec.model_store import save_model
    from leechcodec.testing.tiny import tiny_model  # needs torch, which tests/light does without

    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(folder, tiny_model())
    return folder


@pytest.fixture(scope="session")
def released() -> str:
    """Name of the released model; skips where its weights are not there."""
    if not (models_dir() / "leech-open" / "weights.safetensors").is_file():
        pytest.skip("the released model's weights are not in models/leech-open")
    return "leech-open"


@pytest.fixture(scope="session")
def kodak() -> Path:
    """Folder of the Kodak images, from the environment variable LEECHCODEC_KODAK."""
    folder = os.environ.get("LEECHCODEC_KODAK")
    if not folder:
        pytest.skip("LEECHCODEC_KODAK does not name a folder with the Kodak images")
    return Path(folder)


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium: playwright's own, or one that is installed."""
    driver = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    installed = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with driver.sync_playwright() as playwright:
        browser = None
        for executable in (None, installed):
            try:
                browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
                break
            except driver.Error:
                continue
        if browser is None:
            pytest.skip("needs Chromium: playwright install chromium")
        yield browser
        browser.close()


@pytest.fixture
def bucket(monkeypatch):
    """URL of an empty bucket of an S3 server in this process."""
    server = pytest.importorskip("moto.server", reason="needs moto: pip install 'moto[server]'")
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs: pip install 'leechcodec[remote]'")
    from leechcodec.formats import storage

    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": os.devnull,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    storage._remote.cache_clear()
    name = f"photographs-{secrets.token_hex(4)}"  # the server's memory outlives it
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(name)
    yield f"s3://{name}"
    running.stop()
    s3fs.S3FileSystem.clear_instance_cache()
    storage._remote.cache_clear()
