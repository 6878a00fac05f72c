"""Citations: marks in tool outputs become annotations of the answer."""

import pytest

from tests.support.models import collect, function_tools, request, turn
from workers.agents import citations, items
from workers.agents.catalog import Agent, Catalog
from workers.agents.journal import Journal
from workers.agents.loop import run_agent

pytestmark = pytest.mark.usefixtures("provider")
REPORT = {"file_id": "file-1", "filename": "report.pdf"}


def find(context, **arguments):
    return "\n".join(f"{context.cite(**REPORT, page=page)} page {page}" for page in (1, 2))


def agents(*more, **fields):
    asker = Agent("asker", "Asker", "Asks", "Ask.", tools=("find",), **fields)
    return Catalog([asker, *more], function_tools(find=find))


def test_an_answer_that_repeats_a_mark_cites_the_file():
    text = "The sum is 7 【2:2】 and not 8 【9:9】. a[1] = 【x】"
    events, result = turn(f"[[tool=find {{}}]] [[text={text}]]", "asker", agents=agents())
    [annotation] = result.annotations
    assert annotation == {"type": "file_citation", "index": 13, "text": "【2:2】", "page": 2, **REPORT}
    assert result.response_text[13:18] == "【2:2】"
    [created] = [event for event in events if event["run_item_name"] == "message_output_created"]
    assert created["payload"]["annotations"] == [annotation]


def test_marks_of_parallel_calls_and_of_later_turns_differ():
    assert citations.label_of("", 2) == "2" and citations.label_of("0/3", 2) == "0.3.2"
    message = "[[tool=find {}]] [[tool=find {}]] [[text=【2:1】【3:1】]]"
    _, result = turn(message, "asker", agents=agents())
    assert [annotation["text"] for annotation in result.annotations] == ["【2:1】", "【3:1】"]


def test_the_marks_of_an_earlier_answer_are_not_shown_to_the_model():
    history = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "Seven 【2:1】."}]
    _, result = turn("[[echo_history]]", history=history)
    assert "Seven ." in result.response_text and "【" not in result.response_text


def test_what_an_agent_cites_that_was_asked_is_cited_by_the_one_who_asked():
    boss = Agent("boss", "Boss", "Asks the asker", "Ask.", agent_tools=("asker",))
    question = (
        '[[tool=ask_asker {"input": "[[tool=find {}]] [[text=It says so 【2.2:1】]]"}]] [[text=So I hear 【2.2:1】]]'
    )
    _, result = turn(question, "boss", agents=agents(boss))
    assert [annotation["file_id"] for annotation in result.annotations] == ["file-1"]


def test_the_providers_own_annotations_are_kept():
    _, result = turn("[[web_search]]", "triage")
    assert [annotation["type"] for annotation in result.annotations] == ["url_citation"]


def test_the_places_of_annotations_count_from_the_beginning_of_the_whole_text():
    def part(text, *annotations):
        return {"type": "output_text", "text": text, "annotations": list(annotations)}

    message = {"type": "message", "content": [part("ab"), part("cd", {"type": "url_citation", "start_index": 1})]}
    assert items.annotations_of([message]) == [{"type": "url_citation", "start_index": 3}]


def test_an_answer_cites_at_most_five_hundred_times():
    sources = citations.by_label([{"label": "2:1", **REPORT}])
    assert len(citations.found_in("【2:1】" * 1000, sources)) == citations.MOST


def test_a_replayed_call_still_cites():
    first, journal = agents(), Journal()
    message = "[[tool=find {}]] [[text=Seven 【2:1】]]"
    _, before = collect(run_agent(request(message, "asker"), agents=first, journal=journal))
    steps = [step for step in journal.steps.values() if step.kind == "tool"]
    assert steps[0].output["sources"][0]["label"] == "2:1"
    replayed = Journal(journal.steps.values(), run_id=journal.run_id)
    _, after = collect(run_agent(request(message, "asker"), agents=first, journal=replayed))
    assert after.annotations == before.annotations


def test_a_message_that_asks_nothing_of_the_file_cites_nothing():
    _, result = turn("[[text=plain]]", "asker", agents=agents())
    assert result.annotations == [] and result.sources == []
