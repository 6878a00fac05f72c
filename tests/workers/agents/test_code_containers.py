"""Where the code of agents runs: the container that is named, the tenant's, or one that the provider makes; and what happens
when it is gone."""

import pytest

from models.containers import bindings, keeping
from models.containers.container import Container
from models.containers.keeping import Wish
from models.conversations.code_containers import last_container
from models.conversations.conversation import Conversation, RunEvent
from models.platform.database import transaction
from tests.support.containers import reload
from tests.support.models import collect, request
from tests.support.provider import library, library_url, run_job, work, worker  # noqa: F401  (fixtures)
from workers.agents import code_containers
from workers.agents.catalog import Agent, Catalog, Tool, catalog
from workers.agents.loop import run_agent
from workers.agents.providers import routing, wires
from workers.agents.providers.errors import ProviderError, from_object
from workers.agents.requests import next_request
from workers.agents.turn import Turn
from workers.jobs import CONTAINER_CREATE, enqueue

AUTO = {"type": "auto", "memory_limit": "4g"}
RUN = "[[python=1 + 1]]"


def agents(container=AUTO):
    tool = Tool("code", "code", "Runs Python.", hosted={"type": "code_interpreter", "container": container})
    return Catalog([Agent("coder", "Coder", "Codes.", "Code.", tools=("code",))], {"code": tool})


@pytest.fixture(autouse=True)
def _provider(library, configure):  # noqa: F811
    wires._findings.clear()
    routing._resting.clear()
    configure(openai_wire="responses")


@pytest.fixture
def admin(person):
    return person("admin")


@pytest.fixture
def bound(admin):
    """bound(...) -> a container at the provider that the tenant's coder has."""

    def make(name="work", **wish):
        with transaction():
            container = keeping.create(admin, Wish(name, **wish))
            args = {"container_id": str(container.id), "generation": 1}
            enqueue(CONTAINER_CREATE, tenant_id=container.tenant_id, **args)
            bindings.bind(admin, "coder", container.id)
        work()
        return reload(container)

    return make


@pytest.fixture
def ask(admin):
    """ask(message, declared container) -> (its container, its lifecycle events)."""

    def run(message=RUN, container=AUTO, **more):
        asked = request(message, "coder", **more)
        asked.tenant_id, asked.user_id = admin.tenant_id, admin.user_id
        events, _ = collect(run_agent(asked, agents=agents(container)))
        items = [event["payload"]["item"] for event in events if event["raw_type"] == "response.output_item.done"]
        ids = [item["container_id"] for item in items if item["type"] == "code_interpreter_call"]
        return (ids or [None])[-1], [event["event"] for event in events if event["kind"] == "lifecycle"]

    return run


def test_without_a_container_the_provider_makes_one_as_declared(ask, library):  # noqa: F811
    used, _ = ask()
    made = library.call("GET", f"containers/{used}")
    assert (made["memory_limit"], made["name"]) == ("4g", "auto")


def test_an_agent_of_the_tenant_runs_code_in_the_container_that_it_has(ask, bound):
    container = bound()
    assert ask()[0] == container.provider_id


def test_a_container_that_the_tool_names_comes_before_the_tenants(ask, bound, library):  # noqa: F811
    bound()
    fixed = library.call("POST", "containers", name="fixed")["id"]
    assert ask(container=fixed)[0] == fixed


def test_another_agent_and_another_tenant_do_not_have_it(ask, bound, admin, library):  # noqa: F811
    container = bound()
    with transaction():
        bindings.unbind(admin, "coder")
        bindings.bind(admin, "triage", container.id)
    assert ask()[0] != container.provider_id


def test_a_tool_that_needs_the_tenants_container_falls_back_or_fails_as_the_setting_says(ask, configure):
    assert ask(container="explicit")[0]
    configure(container_fallback_to_auto_on_missing_binding=False)
    with pytest.raises(ProviderError) as failed:
        ask(container="explicit")
    assert failed.value.code == "container_missing"
    assert ask(container=AUTO)[0]  # needs none


def test_a_container_that_has_expired_is_replaced_and_the_run_goes_on(ask, bound, library):  # noqa: F811
    container = bound(memory_limit="16g", expires_after={"anchor": "last_active_at", "minutes": 5})
    library.tell(shift=6 * 60)
    with worker():
        used, lifecycle = ask()
    row = reload(container)
    assert (row.status, row.generation, row.provider_id) == ("running", 2, used) and used != container.provider_id
    assert lifecycle.count("container_replaced") == 1
    made = library.call("GET", f"containers/{used}")
    assert (made["memory_limit"], made["expires_after"]["minutes"]) == ("16g", 5)
    assert library.call("GET", f"containers/{container.provider_id}")["error"]  # nothing is left of the old one
    assert ask()[0] == used


def test_one_that_the_provider_does_not_know_is_replaced_too(ask, bound, library):  # noqa: F811
    container = bound()
    library.call("DELETE", f"containers/{container.provider_id}")
    with worker():
        used, _ = ask()
    assert reload(container).provider_id == used


def test_one_that_the_sync_found_expired_is_replaced_before_the_model_is_asked(ask, bound, library):  # noqa: F811
    container = bound(expires_after={"anchor": "last_active_at", "minutes": 1})
    library.tell(shift=120)
    Container.update(synced_at=None).execute()
    run_job("container.sync")
    assert reload(container).status == "expired"
    with worker():
        used, lifecycle = ask()
    assert reload(container).provider_id == used and "container_replaced" not in lifecycle


def test_without_the_fallback_a_container_that_is_gone_fails_the_run_and_is_shown_as_expired(
    ask,
    bound,
    library,  # noqa: F811
    configure,
):
    container = bound()
    configure(container_fallback_to_auto_on_missing_binding=False)
    library.call("DELETE", f"containers/{container.provider_id}")
    for _ in range(2):
        with pytest.raises(ProviderError) as failed:
            ask()
        assert failed.value.code == "container_expired"
        assert (reload(container).status, reload(container).generation) == ("expired", 1)


def test_a_container_that_is_not_made_in_time_does_not_hold_up_the_run(ask, bound, library, monkeypatch):  # noqa: F811
    monkeypatch.setattr(code_containers, "WAIT_SECONDS", 0.0)
    container = bound()
    library.call("DELETE", f"containers/{container.provider_id}")
    used, _ = ask()
    assert used and reload(container).status == "creating"
    work()
    assert ask()[0] == reload(container).provider_id != used


def test_many_runs_that_find_it_gone_replace_it_once(ask, bound, library):  # noqa: F811
    from tests.support.crowd import crowd

    container = bound()
    library.call("DELETE", f"containers/{container.provider_id}")
    with worker():
        used = set(crowd(6, lambda _: ask()[0]))
    assert used == {reload(container).provider_id} and reload(container).generation == 2


def test_a_named_container_that_is_gone_is_left_out_or_fails_the_run(ask, configure):
    used, lifecycle = ask(container="cntr_gone")
    assert used and used != "cntr_gone" and "container_replaced" in lifecycle
    configure(container_fallback_to_auto_on_missing_binding=False)
    with pytest.raises(ProviderError) as failed:
        ask(container="cntr_gone")
    assert failed.value.code == "container_expired"


def test_a_conversation_goes_on_where_its_code_ran_as_long_as_that_is_there(ask, admin, library):  # noqa: F811
    first, _ = ask()
    conversation = Conversation.create(tenant_id=admin.tenant_id, key="c1", user_id=admin.user_id, entry_agent="coder")
    RunEvent.create(
        conversation=conversation,
        sequence=1,
        type="tool_call",
        tool_name="code_interpreter",
        call_arguments={"container_id": first},
    )
    earlier = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    assert ask(history=earlier)[0] == first
    assert ask()[0] != first  # a first question
    library.call("DELETE", f"containers/{first}")
    used, lifecycle = ask(history=earlier)
    assert used != first and "container_replaced" in lifecycle
    RunEvent.update(created_at="2020-01-01").execute()
    assert last_container(admin.tenant_id, "c1") is None


def test_the_digest_of_a_request_does_not_depend_on_the_container(admin, bound):
    asked = request(RUN, "coder")
    asked.tenant_id = admin.tenant_id
    before = next_request(Turn(asked, agents()))
    bound()
    assert next_request(Turn(asked, agents())) == before


def test_a_server_of_another_provider_is_not_told_our_containers():
    tool = {"type": "code_interpreter", "container": "cntr_1"}
    assert routing._with_own_container(tool)["container"] == {"type": "auto"}
    auto = {"type": "code_interpreter", "container": AUTO}
    assert routing._with_own_container(auto) == auto


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Container is expired.", "container_expired"),
        ("Container with id 'cntr_1' not found.", "container_expired"),
        ("The model 'x' was not found", "provider_failed"),
    ],
)
def test_the_providers_words_about_containers_are_understood(message, code):
    assert from_object({"message": message, "code": None}).code == code


def test_a_bundled_agent_plots_for_a_newcomer(admin, s3):
    """From the front desk to the analyst, whose plot is kept in storage."""
    asked = request("Please plot x^2", "triage")
    asked.tenant_id, asked.user_id = admin.tenant_id, admin.user_id
    events, result = collect(run_agent(asked, agents=catalog()))
    assert result.answering_agent == "data_analyst" and "figure-1.png" in result.response_text
    done = [event["payload"]["item"] for event in events if event["raw_type"] == "response.output_item.done"]
    assert [item["type"] for item in done].count("code_interpreter_call") == 1
    [plot] = result.attachments
    assert (plot["mime_type"], plot["filename"].startswith("figure-")) == ("image/png", True)


def test_on_the_chat_wire_the_analyst_answers_without_code(ask, admin, configure):
    configure(openai_wire="chat")
    asked = request("Please plot x^2", "data_analyst")
    asked.tenant_id = admin.tenant_id
    events, result = collect(run_agent(asked, agents=catalog()))
    assert result.response_text and not [event for event in events if event["tool_name"] == "code_interpreter"]
