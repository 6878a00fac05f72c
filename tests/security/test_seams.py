"""Where the parts meet: old entries of the cache, changes during a sign-in, limits that others could use up, providers."""

import http.server
import threading
import time
from itertools import pairwise

import pytest

from models.auth import operators, password_login
from models.auth.sessions import Session
from models.auth.tenants import Tenant
from models.auth.users import AccountNotActive, Membership, NotAMember, PasswordNotTheirs
from models.platform.database import database, transaction
from models.platform.principal import OPERATOR, Root
from models.platform.redis import redis_client
from tests.support.accounts import CHEAP_HASHER, NEW, PASSWORD, add_user, reloaded
from workers import housekeeping

ISSUE = "/api/v1/auth/service-accounts/browser-issue"
SHELL = Root("operator:test")


def test_an_old_entry_of_redis_gives_nobody_back_what_they_have_lost(signed, owner, status):
    """Whoever can write to Redis can also read it: an entry that was true once must not be true again."""
    headers, user = signed("admin")
    assert status(headers) == 200
    session = Session.get(Session.user_id == user.id)
    key = f"authority:{session.id}"
    kept = redis_client().get(key)
    with transaction():
        Membership.get(Membership.user == user.id).change_role("viewer", by=SHELL, reason="test")
    assert status(headers) == 403
    time.sleep(5.2)
    redis_client().set(key, kept)
    assert status(headers) == 403
    with transaction():
        user.disable(by=SHELL, reason="left")
    redis_client().set(key, kept)
    assert status(headers) in (401, 403)


def test_the_owner_of_a_password_is_known_after_the_audit_log_was_purged(signed, owner, tenant, post):
    headers, _ = signed("admin")
    victim = add_user("victim@example.com", PASSWORD, tenant=tenant, role="member", verified=True)
    assert post("password/reset", headers, user_id=str(victim.id), new_password=NEW).status_code == 200
    with pytest.raises(PasswordNotTheirs):
        operators.grant(victim.email, list(OPERATOR), by=SHELL)
    database.execute_sql("update audit_event set created_at = now() - interval '401 days'")
    housekeeping.purge_sessions(None)
    with pytest.raises(PasswordNotTheirs):
        operators.grant(victim.email, list(OPERATOR), by=SHELL)


def test_a_tenant_cannot_use_up_the_service_tokens_of_others(signed, http):
    stranger = Tenant.create(slug="stranger", name="Stranger")
    attacker, _ = signed("owner", tenant=stranger)
    admin, user = signed("owner")
    body = {"account": "analytics-batch", "scopes": ["conversations:read"], "reason": "for the reports", "force": True}
    for _ in range(40):
        http.simulate_post(ISSUE, headers=attacker, json=body)
    tenant_id = str(Membership.get(Membership.user == user.id).tenant_id)
    answer = http.simulate_post(ISSUE, headers=admin, json={**body, "tenant_id": tenant_id})
    assert answer.status_code == 201, answer.text


def test_who_is_disabled_during_their_sign_in_gets_no_session(signed, tenant, clean):
    """The status is read before the hash, which takes time, and not after it."""
    user = add_user("slow@example.com", PASSWORD, tenant=tenant, role="member", verified=True)

    class Slow:
        def __getattr__(self, name):
            return getattr(CHEAP_HASHER, name)

        def verify(self, *args):
            answer = CHEAP_HASHER.verify(*args)
            with transaction():
                reloaded(user).disable(by=SHELL, reason="stolen")
            return answer

    with pytest.raises(AccountNotActive):
        password_login.log_in("slow@example.com", PASSWORD, hasher=Slow())
    assert not Session.select().where((Session.user_id == user.id) & Session.revoked_at.is_null()).exists()


def test_who_is_removed_during_their_sign_in_gets_no_session(signed, tenant, clean):
    user = add_user("slow@example.com", PASSWORD, tenant=tenant, role="member", verified=True)
    real, removed = Membership.for_session.__func__, []

    def late(cls, user_id, tenant_id):
        membership = real(cls, user_id, tenant_id)
        if not removed:
            removed.append(membership)
            with transaction():
                Membership.in_tenant(user_id, tenant.id).remove(by=SHELL, reason="left")
        return membership

    Membership.for_session = classmethod(late)
    try:
        with pytest.raises(NotAMember):
            password_login.log_in("slow@example.com", PASSWORD, hasher=CHEAP_HASHER)
    finally:
        Membership.for_session = classmethod(real)
    assert not Session.select().where((Session.user_id == user.id) & Session.revoked_at.is_null()).exists()


def test_one_network_cannot_use_up_the_registrations_of_a_mail_domain(http, post, configure):
    configure(signup_access_policy="public")
    for number in range(30):
        post(
            "register",
            email=f"x{number}@victim-corp.com",
            password=PASSWORD,
            tenant_name=f"T{number}",
            accept_terms=True,
        )
    answer = http.simulate_post(
        "/api/v1/auth/register",
        json={"email": "boss@victim-corp.com", "password": PASSWORD, "tenant_name": "Victim", "accept_terms": True},
        extras={"REMOTE_ADDR": "203.0.113.9"},
    )
    assert answer.status_code == 201, answer.text


class Recorder(http.server.BaseHTTPRequestHandler):
    target, seen = None, []

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.seen.append((self.server.server_port, dict(self.headers), body))
        if self.target and self.server.server_port != self.target:
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{self.target}/internal")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.send_response(400)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *args):
        pass


def test_a_provider_cannot_redirect_a_request_with_its_keys_elsewhere(monkeypatch):
    from workers.agents.providers import client
    from workers.agents.providers.errors import ProviderError
    from workers.agents.providers.models_file import Provider

    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    first, second = (server.server_port for server in servers)
    monkeypatch.setattr(Recorder, "target", second)
    monkeypatch.setattr(Recorder, "seen", [])
    monkeypatch.setenv("AZURE_KEY", "very-secret-azure-key")
    provider = Provider(name="azure", base_url=f"http://127.0.0.1:{first}/v1", headers={"api-key": "$AZURE_KEY"})
    with pytest.raises(ProviderError):
        client.post(provider, "/responses", {"input": "private words"})
    for server in servers:
        server.shutdown()
    elsewhere = [(headers, body) for port, headers, body in Recorder.seen if port == second]
    assert not elsewhere, elsewhere


def test_a_key_that_a_provider_repeats_is_not_cut_in_two_before_it_is_blanked_out(monkeypatch, caplog):
    import contextlib

    from models.platform import redaction
    from workers.agents.providers import client
    from workers.agents.providers.errors import ProviderError
    from workers.agents.providers.models_file import Provider

    key = "sk-proxy-0123456789abcdef0123456789abcdef"
    monkeypatch.setattr(redaction, "_added", {key})

    def refuse(*_, **__):
        raise ProviderError("provider_authentication") from RuntimeError("x" * 470 + key)

    monkeypatch.setattr(client, "post", refuse)
    with pytest.raises(ProviderError):
        client._open(Provider(name="proxy", base_url="http://x/v1"), "/responses", {}, contextlib.nullcontext)
    [record] = [record for record in caplog.records if record.msg == "model.request_failed"]
    assert key[:20] not in redaction.without_secrets(record.reason)


def test_a_list_of_sessions_with_many_clients_does_not_stop_the_process(signed, http, tenant, monkeypatch):
    """Reading a User-Agent takes ten milliseconds if its sender wants it to. Others have their turn in between."""
    import random

    import gevent

    from models.platform.client_info import describe_user_agent

    describe_user_agent("the first one loads the patterns")
    turns, sleep = [], gevent.sleep
    monkeypatch.setattr(gevent, "sleep", lambda seconds=0: (turns.append(time.perf_counter()), sleep(seconds)))
    headers, user = signed("owner")
    words = ["Mozilla/5.0 (", "Android 9; ", "Linux; U; ", "Build/", "AppleWebKit/537.36 ", "SM-", "HTC_", "; ", "bot-"]
    choose = random.Random(1)
    for _ in range(100):
        agent = "".join(choose.choice(words) + str(choose.randint(0, 99)) for _ in range(80))[:512]
        Session.create(user_id=user.id, tenant_id=tenant.id, user_agent=agent)
    began = time.perf_counter()
    path = "/api/v1/auth/sessions?limit=100&include_revoked=true"
    assert len(http.simulate_get(path, headers=headers).json["sessions"]) == 100
    ends = [began, *turns, time.perf_counter()]
    assert max(after - before for before, after in pairwise(ends)) < 0.2


def test_a_signed_time_that_is_no_number_is_refused():
    """It would be neither too old nor in the future, for ever."""
    import json

    from edge import request_signatures

    with pytest.raises(request_signatures.NotSigned):
        request_signatures._check_times(json.loads('{"iat": NaN, "exp": NaN}'))
