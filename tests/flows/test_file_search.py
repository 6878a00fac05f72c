"""Files with real processes: uploaded, indexed, asked about and cited; shown to agents; and what agents make of their own."""

import os
import signal

import httpx
import pytest

from devstack.openai.images import png
from tests.flows.conftest import eventually

HANDBOOK = "The harbour of Eastmark\n\nThe lock closes at nine in the evening. Dogs are welcome on the northern pier.\n"


@pytest.fixture
def upload(live):
    """upload(name, data, mime_type) -> the id of the stored object; `complete=False`: nobody has looked for its bytes."""

    def uploaded(name, data, mime_type, complete=True):
        announced = {"filename": name, "mime_type": mime_type, "size_bytes": len(data)}
        answer = live.http.post("/api/v1/storage/objects/upload-url", json=announced)
        assert answer.status_code == 201, answer.text
        to = answer.json()
        assert httpx.request(to["method"], to["upload_url"], headers=to["headers"], content=data).status_code == 200
        if complete:
            ready = live.http.post(f"/api/v1/storage/objects/{to['object_id']}/complete")
            assert ready.json()["status"] == "ready", ready.text
        return to["object_id"]

    return uploaded


def ask(live, message, **more):
    """(the terminal event, all events) of a chat."""
    with live.chat(message, **more) as (_, stream):
        events = [event for _, event in stream]
    assert events[-1]["is_terminal"], events[-1]
    return events[-1], events


def messages(live, conversation):
    return live.http.get(f"/api/v1/conversations/{conversation}").json()["messages"]


def test_a_file_is_uploaded_indexed_asked_about_and_cited(live, upload):
    object_id = upload("handbook.md", HANDBOOK.encode(), "text/markdown")
    store = live.http.post("/api/v1/vector-stores", json={"name": "primary"})
    assert store.status_code == 201, store.text
    files = f"/api/v1/vector-stores/{store.json()['id']}/files"
    attached = live.http.post(files, json={"file_id": object_id}, timeout=60).json()
    eventually(lambda: live.http.get(f"{files}/{attached['openai_file_id']}").json()["status"] == "completed", 60)

    end, events = ask(live, "What do the files say about the lock?", conversation_id="harbour")
    assert "closes at nine" in end["response_text"]
    [citation] = end["payload"]["annotations"]
    assert (citation["type"], citation["filename"]) == ("file_citation", "handbook.md")
    assert end["response_text"][citation["index"] :].startswith(citation["text"])
    assert "tool_output" in [event["run_item_name"] for event in events]
    assert messages(live, "harbour")[-1]["annotations"] == [citation]

    answer = live.http.post(
        "/api/v1/workflows/retrieval/run", json={"message": "When does the lock close?"}, timeout=60
    )
    assert answer.status_code == 200, answer.text
    assert "closes at nine" in answer.json()["final_output"]
    assert [one["filename"] for one in answer.json()["annotations"]] == ["handbook.md"]


def test_an_image_and_a_document_are_shown_to_an_agent_and_to_those_who_read_the_conversation(live, upload):
    image = upload("tower.png", png("tower", 40), "image/png")
    notes = upload("notes.txt", b"Mind the tide.", "text/plain", complete=False)
    end, _ = ask(live, "What is this?", conversation_id="shown", attachments=[image, notes])
    assert 'The attached file says: "Mind the tide."' in end["response_text"]
    assert "I see a PNG of 40x40 pixels" in end["response_text"]
    shown = messages(live, "shown")[0]["attachments"]
    assert [one["filename"] for one in shown] == ["tower.png", "notes.txt"]
    assert httpx.get(shown[0]["url"]).content == png("tower", 40)
    end, _ = ask(live, "[[echo_history]]", conversation_id="shown")
    assert "Mind the tide." in end["response_text"]


def test_a_generated_image_is_linked_and_downloads(live):
    answer = live.http.post(
        "/api/v1/chat",
        json={"message": "Draw a lighthouse", "agent_type": "illustrator", "conversation_id": "drawn"},
        timeout=60,
    )
    [attachment] = answer.json()["attachments"]
    assert answer.json()["metadata"]["attachments"] == {"status": "stored", "count": 1}
    assert httpx.get(attachment["url"]).content == png("Draw a lighthouse", 96)
    [again] = messages(live, "drawn")[-1]["attachments"]
    downloaded = httpx.get(again["url"])
    assert downloaded.content == png("Draw a lighthouse", 96)
    assert downloaded.headers["content-disposition"].startswith("attachment")


def test_after_a_kill_there_is_one_image_with_one_link(live):
    with live.chat("[[image delay=100ms deltas=60]] Draw a boat", agent_type="painter", conversation_id="boat") as (
        run_id,
        stream,
    ):
        for _, event in stream:
            if event["text_delta"]:  # the image was made and kept before
                os.kill(live.owner_of(run_id), signal.SIGKILL)
                break
    eventually(lambda: live.revive() is not None and live.run(run_id)["state"] == "succeeded", 60, 0.2)
    [attachment] = messages(live, "boat")[-1]["attachments"]
    assert httpx.get(attachment["url"]).status_code == 200
    rows = live.sql("select storage_object.id::text from storage_object join run on run.conversation_id = "
                    "storage_object.conversation_id where run.id = %s", run_id)  # fmt: skip
    assert [row[0] for row in rows] == [attachment["object_id"]]


def test_a_plot_of_the_code_interpreter_comes_back_as_a_stored_image(live):
    end, _ = ask(live, "Plot sin(x), please", agent_type="painter", conversation_id="plot")
    pictures = [one for one in end["attachments"] if one["mime_type"] == "image/png"]
    assert len(pictures) == 1, end
    [shown] = [one for one in messages(live, "plot")[-1]["attachments"] if one["object_id"] == pictures[0]["object_id"]]
    assert httpx.get(shown["url"]).content.startswith(b"\x89PNG")
