"""Questions of the same conversation at the same moment: one is taken, the others are refused, none are mixed."""

from collections import Counter

import pytest

from models.conversations.conversation import Conversation, Message
from models.runs.run import Run
from tests.support.crowd import crowd


@pytest.mark.parametrize("is_new", [True, False])
def test_of_fifty_questions_at_once_one_is_taken(http, signed, ask_as, configure, is_new):
    configure(chat_wait_seconds=0.01, chat_rate_limit_per_minute=0, tenant_jobs_at_once=0)
    headers, user = signed()
    if not is_new:
        first = ask_as(user, "Hello", "c1")
        Run.delete().where(Run.id == first.id).execute()

    def send(number):
        body = {"message": f"Question {number}", "conversation_id": "c1"}
        return http.simulate_post("/api/v1/chat", json=body, headers=headers)

    answers = crowd(50, send)
    assert Counter(answer.status_code for answer in answers) == {504: 1, 409: 49}
    assert {answer.json["error"] for answer in answers if answer.status_code == 409} == {"conversation_busy"}
    taken = next(number for number, answer in enumerate(answers) if answer.status_code == 504)
    asked = [message.content for message in Message.select().order_by(Message.position)]
    assert asked == [*([] if is_new else ["Hello"]), f"Question {taken}"]
    assert Conversation.get().message_count == len(asked)
    assert Run.select().count() == 1
