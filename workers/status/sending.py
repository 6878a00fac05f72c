"""Sending deliveries. What is sent to whom is put together first; the tasks that send it run in threads."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from models.platform.clock import minute_text, now
from models.platform.database import release
from models.platform.settings import settings
from models.status.claims import Result
from models.status.deliveries import DELIVERED, GIVEN_UP, PENDING, SKIPPED, SLACK, StatusDelivery
from models.status.signing import signing_secrets
from models.status.subscriptions import ACTIVE, EMAIL, NoTarget, StatusSubscription, target
from models.status.tokens import unsubscribe_url
from workers import metrics
from workers.gateways import slack, webhooks
from workers.gateways.mail import MailFailed
from workers.jobs import A_DAY
from workers.mail.send import Sender, sender
from workers.status.messages import Alert, message_id, webhook, webhook_headers

MAILS_OF_A_CONNECTION = 20
GONE = 410  # the receiver wants no more
SLACK_LONGEST_DELAY = 5  # seconds
LONGEST_PAUSE = 120  # seconds: what a wish of the mail service is at most taken for
SPARE_SECONDS = 45  # of a claim: nothing is begun that might outlast it
Task = Callable[[], list[Result]]


@dataclass(frozen=True, slots=True)
class Letter:
    """A delivery that can be sent. `target`: the address, URL or channel. `secrets`: that sign it, the newest first.

    `unsubscribe_url`: of a mail.
    """

    delivery: StatusDelivery
    alert: Alert
    target: str
    secrets: tuple[str, ...] = ()
    unsubscribe_url: str | None = None


class Outbox:
    """Puts together what is sent. It remembers alerts: an update never changes."""

    def __init__(self) -> None:
        self.alerts: dict[UUID, Alert] = {}

    def tasks(self, deliveries: Sequence[StatusDelivery]) -> Iterator[tuple[list[StatusDelivery], Task]]:
        """What sends these deliveries, each in one of the tasks."""
        mails: list[Letter] = []
        subscriptions = _subscriptions(deliveries)
        for delivery in deliveries:
            letter = self._letter(delivery, subscriptions)
            if isinstance(letter, Result):
                yield [delivery], _returning(letter)
            elif delivery.channel == EMAIL:
                mails.append(letter)
            else:
                yield [delivery], _sending(post_to_slack if delivery.channel == SLACK else post_to_webhook, letter)
        for start in range(0, len(mails), MAILS_OF_A_CONNECTION):
            some = mails[start : start + MAILS_OF_A_CONNECTION]
            yield [letter.delivery for letter in some], _mailing(some)

    def _letter(self, delivery: StatusDelivery, subscriptions: dict[UUID, StatusSubscription]) -> Letter | Result:
        if delivery.update_id not in self.alerts:
            self.alerts[delivery.update_id] = Alert.of(delivery.update_id)
        alert = self.alerts[delivery.update_id]
        if delivery.subscription_id is None:
            return Letter(delivery, alert, delivery.target)
        subscription = subscriptions.get(delivery.subscription_id)
        if subscription is None or subscription.status != ACTIVE:
            return Result(delivery, SKIPPED, error="The subscription has ended.")
        try:
            to, secrets = target(subscription), tuple(signing_secrets(subscription))
        except NoTarget as error:
            return Result(delivery, SKIPPED, error=str(error))
        return Letter(delivery, alert, to, secrets, unsubscribe_url(subscription))


def _subscriptions(deliveries: Sequence[StatusDelivery]) -> dict[UUID, StatusSubscription]:
    ids = [delivery.subscription_id for delivery in deliveries if delivery.subscription_id]
    return {row.id: row for row in StatusSubscription.select().where(StatusSubscription.id.in_(ids))}


def _returning(result: Result) -> Task:
    return lambda: [result]


def _sending(send: Callable[[Letter], Result], letter: Letter) -> Task:
    return lambda: [send(letter) if has_time(letter.delivery) else unsent(letter.delivery)]


def has_time(delivery: StatusDelivery) -> bool:
    """Whether there is enough left of its claim to send it."""
    return delivery.claimed_until is not None and delivery.claimed_until - now() > timedelta(seconds=SPARE_SECONDS)


def unsent(delivery: StatusDelivery) -> Result:
    """Nothing was tried: it is due as before."""
    return Result(delivery, PENDING, error=delivery.error, due_at=now(), is_unsent=True)


def failed(delivery: StatusDelivery, reason: str, status: int | None = None, *, is_silent: bool = False) -> Result:
    """An attempt has failed. There is another one, unless the last time for it would be too late."""
    delays = A_DAY[delivery.attempts - 1 : delivery.attempts]
    due_at = now() + timedelta(seconds=delays[0] * random.uniform(0.8, 1.2)) if delays else None  # noqa: S311
    if due_at is None or due_at > delivery.give_up_at:
        return Result(delivery, GIVEN_UP, status, reason, is_silent=is_silent)
    return Result(delivery, PENDING, status, reason, due_at, is_silent=is_silent)


# ---------------------------------------------------------------- webhooks


def post_to_webhook(letter: Letter) -> Result:
    delivery = letter.delivery
    message = webhook(letter.alert, delivery)
    timestamp, began = int(time.time()), time.perf_counter()
    headers = webhook_headers(message, letter.alert.event, letter.secrets, timestamp)
    seconds = settings.status_subscription_webhook_timeout_seconds
    try:
        status = webhooks.send(letter.target, message, letter.secrets, timestamp, headers=headers, seconds=seconds)
    except webhooks.TargetRefused as error:
        return Result(delivery, GIVEN_UP, error=error.reason)
    except webhooks.DeliveryFailed as error:
        if error.status == GONE:
            return Result(delivery, GIVEN_UP, GONE, "The receiver wants no more.")
        return failed(delivery, error.reason, error.status, is_silent=error.status is None)
    finally:
        metrics.STATUS_WEBHOOK_SECONDS.observe(time.perf_counter() - began)
    return Result(delivery, DELIVERED, status)


# ---------------------------------------------------------------- Slack


def post_to_slack(letter: Letter) -> Result:
    """Channels have their pause after each message, and after a wish of Slack's: it counts for all who send."""
    delivery, began = letter.delivery, time.perf_counter()
    is_sent, pause = False, settings.slack_status_rate_limit_window_seconds
    try:
        slack.post(letter.target, *slack_message(letter.alert))
        is_sent = True
    except slack.SlackFailed as error:
        pause = error.retry_after or pause
        if error.is_permanent or delivery.attempts >= settings.slack_status_max_retries:
            return Result(delivery, GIVEN_UP, error=error.reason, pause=_in(pause))
        due_at = _in(error.retry_after or min(SLACK_LONGEST_DELAY, 2 ** (delivery.attempts - 1)))
        return Result(delivery, PENDING, error=error.reason, due_at=due_at, pause=_in(pause))
    finally:
        whose = "tenant" if delivery.tenant_id else "default"
        metrics.slack_sent(whose, "sent" if is_sent else "error", time.perf_counter() - began)
    return Result(delivery, DELIVERED, pause=_in(pause))


def slack_message(alert: Alert) -> tuple[str, list[str]]:
    """The text of a notification, and the sections of a message."""
    service, impact = slack.escaped(alert.service, 300), slack.escaped(alert.impact, 600)
    facts = f"*Impact:* {impact}\n*State:* {alert.state_title}\n*Time:* {minute_text(alert.occurred_at)}"
    heading = f"*{slack.escaped(alert.title, 300)}*\n{service}"
    link = f"<{alert.url}|All updates>"
    return f"[{alert.state_title}] {service} — {impact}", [heading, facts, slack.escaped(alert.text, 2500), link]


def _in(seconds: float) -> datetime:
    return now() + timedelta(seconds=seconds)


# ---------------------------------------------------------------- mails


def _mailing(letters: Sequence[Letter]) -> Task:
    return lambda: list(_mail(letters))


def _mail(letters: Sequence[Letter]) -> Iterator[Result]:
    """Send some mails by one connection. Two failures in a row mean that the other side takes none now: the rest stays as it was."""
    failures = 0
    try:
        with sender() as open_sender:
            for letter in letters:
                if failures >= 2 or not has_time(letter.delivery):
                    yield unsent(letter.delivery)
                    continue
                result = _mail_one(open_sender, letter)
                failures = failures + 1 if result.is_silent or result.pause else 0
                yield result
    finally:
        release()  # looking for suppressed addresses takes a connection, which would be lost with this thread


def _mail_one(open_sender: Sender, letter: Letter) -> Result:
    delivery, values = letter.delivery, letter.alert.mail_values()
    key, leave = message_id(delivery.id), letter.unsubscribe_url
    try:
        is_sent = open_sender.send(letter.target, "status_incident", message_id=key, unsubscribe_url=leave, **values)
    except MailFailed as error:
        if error.is_permanent:
            return Result(delivery, GIVEN_UP, error=str(error))
        if error.retry_after is not None:  # we send too fast, which is no failure of this mail
            pause = _in(min(LONGEST_PAUSE, error.retry_after))
            return Result(delivery, PENDING, error=str(error), due_at=pause, pause=pause, is_unsent=True)
        return failed(delivery, str(error), is_silent=not error.is_about_address)
    if not is_sent:
        return Result(delivery, SKIPPED, error="This address gets no mail any more.")
    return Result(delivery, DELIVERED)


def seconds_until(time: datetime) -> float:
    return (time - now()).total_seconds()
