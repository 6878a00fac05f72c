"""The code interpreter of the model stand-in, and its containers: real code in a confined process, on the real wire."""

import base64
import io
import json

import httpx
import openai
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from tests.support.standin import kinds

AUTO = {"type": "code_interpreter", "container": {"type": "auto"}}
OUTPUTS = ["code_interpreter_call.outputs"]
PNG = b"\x89PNG\r\n\x1a\n"


def ask(client, message, *, container=AUTO["container"], **more):
    tools = [{"type": "code_interpreter", "container": container}]
    patient = client.with_options(timeout=60)  # a busy machine takes its time to draw
    return patient.responses.create(model="m", input=message, tools=tools, include=OUTPUTS, **more)


def logs(response):
    return response.output[0].outputs[0].logs if response.output[0].outputs else ""


@pytest.fixture
def container(client):
    made = client.containers.create(name="ours")
    yield made
    client.containers.delete(made.id)


@pytest.fixture
def clock(url):
    """clock(minutes): moves the stand-in's clock ahead, for this test."""

    def move(minutes):
        httpx.post(f"{url}/_standin/library", json={"shift": minutes * 60}).raise_for_status()

    yield move
    move(0)


def test_a_calculation_in_plain_words_is_really_made(client):
    response = ask(client, "Calculate 2^10 * 3")
    call, message = response.output
    assert (call.code, logs(response), call.status) == ("2**10 * 3", "3072", "completed")
    assert "3072" in message.content[0].text and call.container_id.startswith("cntr_")


def test_a_plot_comes_back_as_an_image_and_as_a_cited_file(client):
    response = ask(client, "Please plot x^2 - 3x")
    call, message = response.output
    [image] = call.outputs
    assert base64.b64decode(image.url.removeprefix("data:image/png;base64,")).startswith(PNG)
    text, [citation] = message.content[0].text, message.content[0].annotations
    assert (citation.type, citation.filename) == ("container_file_citation", "figure-1.png")
    assert text[citation.start_index : citation.end_index] == "sandbox:/mnt/data/figure-1.png"
    content = client.containers.files.content.retrieve(citation.file_id, container_id=citation.container_id)
    assert content.read().startswith(PNG)


def test_without_the_tool_or_with_another_wish_no_code_runs(client, stream):
    assert client.responses.create(model="m", input="Calculate 1 + 1").output[0].type == "message"
    assert [item.type for item in ask(client, "[[text=no]]").output] == ["message"]
    assert [item.type for item in ask(client, "Calculate 1 + 1", tool_choice="none").output] == ["message"]


def test_a_front_desk_without_the_tool_passes_a_plot_on(client):
    tools = [{"type": "function", "name": "transfer_to_data_analyst", "parameters": None, "strict": False}]
    [call] = client.responses.create(model="m", input="plot 1 2 3 with python", tools=tools).output
    assert call.name == "transfer_to_data_analyst"


def test_the_streamed_events_are_those_of_the_real_service(client, url):
    events = list(ask(client, "[[python=print(6 * 7)]]", stream=True))
    assert kinds(events)[2:9] == [
        "output_item.added",
        "code_interpreter_call.in_progress",
        *["code_interpreter_call_code.delta"] * 3,
        "code_interpreter_call_code.done",
        "code_interpreter_call.interpreting",
    ]
    assert kinds(events)[9:11] == ["code_interpreter_call.completed", "output_item.done"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    body = {"model": "m", "input": "[[python=open('a.txt', 'w').write('x')]]", "stream": True, "tools": [AUTO]}
    answer = httpx.post(f"{url}/v1/responses", headers={"authorization": "Bearer k"}, json=body, timeout=60)
    adapter = TypeAdapter(ResponseStreamEvent)
    for frame in answer.text.strip().split("\n\n"):
        adapter.validate_python(json.loads(frame.split("data: ")[1]))
    assert '"outputs":null' in answer.text  # unless they are asked for


def test_files_stay_in_a_container_and_variables_do_not(client, container):
    ask(client, "[[python=a = 1; open('kept.txt', 'w').write('kept')]]", container=container.id)
    assert logs(ask(client, "[[python=print(open('kept.txt').read())]]", container=container.id)) == "kept"
    assert "NameError" in logs(ask(client, "[[python=a]]", container=container.id))
    uploaded = client.containers.files.create(container.id, file=("in.csv", io.BytesIO(b"1,2,3")))
    assert (uploaded.path, uploaded.bytes, uploaded.source) == ("/mnt/data/in.csv", 5, "user")
    assert logs(ask(client, "[[python=open('in.csv').read()]]", container=container.id)) == "'1,2,3'"
    paths = {file.path: file.source for file in client.containers.files.list(container.id)}
    assert paths == {"/mnt/data/kept.txt": "assistant", "/mnt/data/in.csv": "user"}
    client.containers.files.delete(uploaded.id, container_id=container.id)
    with pytest.raises(openai.NotFoundError):
        client.containers.files.retrieve(uploaded.id, container_id=container.id)


def test_an_auto_container_is_that_of_an_earlier_call_in_the_input(client):
    first = ask(client, "[[python=open('a', 'w').write('1')]]").output[0]
    earlier = {"type": "code_interpreter_call", "id": first.id, "container_id": first.container_id, "code": "1"}
    again = ask(
        client, [{"role": "user", "content": "hi"}, earlier, {"role": "user", "content": "[[python=open('a')]]"}]
    )
    assert again.output[0].container_id == first.container_id
    assert ask(client, "[[python=1]]").output[0].container_id != first.container_id


def test_a_container_expires_when_it_was_idle_and_is_then_refused(client, clock, container):
    short = client.containers.create(name="short", expires_after={"anchor": "last_active_at", "minutes": 5})
    assert (container.memory_limit, container.status, container.expires_after.minutes) == ("1g", "running", 20)
    clock(6)
    listed = {one.id: one.status for one in client.containers.list(name="short")}
    assert listed == {short.id: "expired"}
    with pytest.raises(openai.BadRequestError, match="expired"):
        ask(client, "hi", container=short.id)
    assert ask(client, "hi", container=container.id).output[0].type == "message"
    client.containers.delete(short.id)
    with pytest.raises(openai.NotFoundError, match=f"Container with id '{short.id}' not found"):
        ask(client, "hi", container=short.id)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": 1}, "name"),
        ({"name": "a", "memory_limit": "2g"}, "memory_limit"),
        ({"name": "a", "expires_after": {"anchor": "created_at", "minutes": 5}}, "expires_after.anchor"),
        ({"name": "a", "expires_after": {"anchor": "last_active_at", "minutes": 21}}, "expires_after.minutes"),
        ({"name": "a", "expires_after": {"anchor": "last_active_at", "minutes": "5"}}, "expires_after.minutes"),
        ({"name": "a", "file_ids": "file-1"}, "file_ids"),
    ],
)
def test_a_container_that_cannot_be_is_refused_as_by_the_real_service(client, body, param):
    with pytest.raises(openai.BadRequestError) as refused:
        client.post("/containers", body=body, cast_to=object)
    assert refused.value.param == param
    with pytest.raises(openai.NotFoundError, match="No such File"):
        client.containers.create(name="a", file_ids=["file-unknown"])


@pytest.mark.parametrize("tool", [{}, {"container": 1}, {"container": {"type": "auto", "memory_limit": "3g"}}])
def test_a_tool_without_a_possible_container_is_refused(client, tool):
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="m", input="hi", tools=[{"type": "code_interpreter", **tool}])


@pytest.mark.parametrize("name", ["../../escape.txt", "/etc/passwd", "a/../../b", "..\\up"])
def test_the_name_of_an_upload_cannot_leave_the_container(client, container, name):
    uploaded = client.containers.files.create(container.id, file=(name, io.BytesIO(b"x")))
    assert uploaded.path.count("/") == 3 and ".." not in uploaded.path


def test_lists_have_pages(client):
    made = [client.containers.create(name="paged").id for _ in range(5)]
    assert [one.id for one in client.containers.list(name="paged", limit=2)] == made[::-1]
    assert [one.id for one in client.containers.list(name="paged", order="asc", limit=2)] == made
    for container_id in made:
        client.containers.delete(container_id)


def test_uploaded_files_can_be_in_a_container_from_its_start_and_later(client):
    file = client.files.create(file=("data.csv", io.BytesIO(b"1,2")), purpose="user_data")
    made = client.containers.create(name="with a file", file_ids=[file.id])
    assert [one.path for one in client.containers.files.list(made.id)] == ["/mnt/data/data.csv"]
    assert logs(ask(client, "[[python=open('data.csv').read()]]", container={"type": "auto", "file_ids": [file.id]}))
    again = client.containers.create(name="later")
    assert client.containers.files.create(again.id, extra_body={"file_id": file.id}).bytes == 3
