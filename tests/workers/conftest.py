"""The models that the tests of agents ask."""

import httpx
import pytest
from pydantic import SecretStr

from tests.support.models import standin


@pytest.fixture(scope="session")
def model_url(tmp_path_factory):
    """The base URL of a stand-in that speaks both wires."""
    with standin(tmp_path_factory.mktemp("model")) as url:
        yield url


@pytest.fixture(scope="session")
def chat_only_url(tmp_path_factory):
    """The base URL of a stand-in that speaks only Chat Completions."""
    with standin(tmp_path_factory.mktemp("chat-model"), "chat") as url:
        yield url


@pytest.fixture
def provider(model_url):
    """The stand-in is the default provider. Nothing is remembered of earlier tests."""
    # Imported here: this file is loaded before the environment is set, if its folder is named on the command line.
    from models.platform.settings import settings
    from workers.agents.providers import routing, wires

    wires._findings.clear()
    routing._resting.clear()
    with settings.override(openai_base_url=model_url, openai_api_key=SecretStr("sk-test")):
        yield model_url


@pytest.fixture
def stats():
    """stats(base URL) -> the counters of a stand-in."""
    return lambda url: httpx.get(url.replace("/v1", "/_standin/stats")).json()


@pytest.fixture
def models_file(tmp_path, configure):
    """models_file(text): the process has these models."""

    def write(text):
        path = tmp_path / "models.toml"
        path.write_text(text)
        configure(models_path=str(path))
        return path

    return write
