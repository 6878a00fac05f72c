"""Fixtures for the end-to-end tests of clients. The routes are there with USE_TEST_FIXTURES only, never in production."""

from datetime import timedelta

import falcon

from edge.endpoint import endpoint
from edge.hashing import in_line
from edge.request import Request
from edge.schemas import fixtures as schemas
from models.auth import email_tokens
from models.auth.password_changes import UserNotFound
from models.auth.password_hashing import PasswordHasher
from models.auth.tenants import Tenant
from models.auth.users import User
from models.conversations.conversation import Conversation
from models.fixtures import BY, accounts, conversations, objects, usage
from models.platform import audit
from models.platform.authorization import PUBLIC
from models.platform.client_info import ClientInfo
from models.platform.clock import now
from models.platform.database import release, transaction
from models.platform.locks import lock
from models.platform.settings import settings
from models.storage.buckets import Bucket
from models.storage.names import bucket_of
from workers.agents.catalog import catalog
from workers.gateways import storage

DEFAULT_AGENT = "default"
SUMMARY = "Test fixture (development only)"
Hashes = dict[str, str | None]


class Fixtures:
    def __init__(self, hasher: PasswordHasher):
        self.hasher = hasher

    @endpoint(SUMMARY, "test-fixtures", action=PUBLIC, status=201)
    @in_line
    def on_post_apply(
        self, req: Request, resp: falcon.Response, body: schemas.PlaywrightFixtureSpec
    ) -> schemas.FixtureApplyResult:
        """Makes tenants, users, conversations, usage and files, all or nothing. What is there already is brought in line, so the
        same specification twice gives the same ids. What it does not name stays as it is."""
        hashes = {user.email: self._new_hash(user) for tenant in body.tenants for user in tenant.users}
        release()
        with transaction():
            lock("fixtures")
            found = {tenant.slug: _apply(tenant, hashes, req.context.client) for tenant in body.tenants}
        return schemas.FixtureApplyResult(tenants=found, generated_at=now())

    def _new_hash(self, user: schemas.FixtureUser) -> str | None:
        """None if the user has this password, whose sessions then go on."""
        found = User.by_email(user.email)
        release()  # hashing takes time
        if found is not None and self.hasher.matches(found.password_hash, user.password):
            return None
        return self.hasher.hash(user.password)

    @endpoint(SUMMARY, "test-fixtures", action=PUBLIC, status=201)
    def on_post_token(
        self, req: Request, resp: falcon.Response, body: schemas.EmailVerificationTokenRequest
    ) -> schemas.EmailVerificationTokenResponse:
        """A token that verifies the user's address, as the mail has it. 404 for an address without an account."""
        user = User.by_email(body.email)
        if user is None:
            raise UserNotFound()
        minutes = settings.email_verification_token_ttl_minutes
        with transaction():
            token, expires_at = email_tokens.create(user.id, email_tokens.VERIFY_EMAIL, minutes), now()
            client = ClientInfo(body.ip_address, body.user_agent)
            audit.record("fixtures.verification_token", BY, f"user:{user.id}", client=client)
        expires_at += timedelta(minutes=minutes)
        return schemas.EmailVerificationTokenResponse(token=token, user_id=str(user.id), expires_at=expires_at)


def _apply(wish: schemas.FixtureTenant, hashes: Hashes, client: ClientInfo) -> schemas.FixtureTenantResult:
    tenant = accounts.tenant(wish.slug, wish.name, wish.plan_code, wish.billing_email)
    users = {user.email: _user(tenant, user, hashes) for user in wish.users}
    talks = {one.key: _conversation(tenant, one, users) for one in wish.conversations}
    for entry in wish.usage:
        usage.used(tenant.id, entry.feature_key, entry.quantity, entry.period_start, entry.idempotency_key)
    stored = {one.filename: _object(tenant, one, users, talks) for one in wish.objects}
    audit.record("fixtures.applied", BY, f"tenant:{tenant.id}", tenant_id=tenant.id, client=client)
    return schemas.FixtureTenantResult(
        tenant_id=str(tenant.id),
        plan_code=tenant.plan_code,
        users={
            one.email: schemas.FixtureUserResult(user_id=str(users[one.email].id), role=one.role) for one in wish.users
        },
        conversations={key: schemas.FixtureConversationResult(conversation_id=key, status="active") for key in talks},
        objects=stored,
    )


def _user(tenant: Tenant, wish: schemas.FixtureUser, hashes: Hashes) -> User:
    new_hash = hashes[wish.email]
    hashes[wish.email] = None  # set once, also for somebody of several tenants
    return accounts.user(
        tenant, wish.email, new_hash, role=wish.role, display_name=wish.display_name, is_verified=wish.verify_email
    )


def _conversation(tenant: Tenant, wish: schemas.FixtureConversation, users: dict[str, User]) -> Conversation:
    agent = catalog().get(None if wish.agent_entrypoint == DEFAULT_AGENT else wish.agent_entrypoint)
    owner = users[wish.user_email] if wish.user_email else next(iter(users.values()), None)
    messages = [(message.role, message.text) for message in wish.messages]
    return conversations.conversation(tenant.id, wish.key, agent.key, owner.id if owner else None, messages)


def _object(
    tenant: Tenant, wish: schemas.FixtureObject, users: dict[str, User], talks: dict[str, Conversation]
) -> schemas.FixtureObjectResult:
    owner, data = next(iter(users.values()), None), wish.text.encode()
    row, is_new = objects.stored_object(
        tenant.id,
        wish.filename,
        data,
        wish.mime_type,
        creator_id=owner.id if owner else None,
        conversation_id=talks[wish.conversation].id if wish.conversation else None,
    )
    if is_new:
        if not Bucket.is_made(tenant.id):
            storage.make_bucket(bucket_of(tenant.id))
            Bucket.mark_made(tenant.id)
        storage.put(row.bucket, row.object_key, data, row.mime_type)
    return schemas.FixtureObjectResult(object_id=str(row.id), status=row.status)
