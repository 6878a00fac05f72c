"""The signup policy, and registration."""

import contextlib

import falcon

from edge import metrics
from edge.endpoint import endpoint
from edge.errors import Invalid
from edge.hashing import in_line
from edge.request import Request
from edge.resources.auth.passwords import DEVICE_HEADER, rejected_as_422
from edge.resources.auth.sessions import show_tokens
from edge.resources.billing.provisioning import provision
from edge.schemas.auth import signup as schemas
from models.auth import passwords, signup
from models.auth.invite_reservations import Reservation
from models.auth.password_hashing import PasswordHasher
from models.auth.tenants import Tenant
from models.auth.tokens import IssuedTokens
from models.billing import changes
from models.platform.authorization import PUBLIC
from models.platform.database import release, transaction
from workers.jobs import MAIL_VERIFY, enqueue

LONGEST_NAME = 128  # characters of a display name


def show_policy() -> schemas.SignupAccessPolicyResponse:
    return schemas.SignupAccessPolicyResponse.model_validate(signup.current_policy())


class SignupPolicy:
    @endpoint("Get Signup Access Policy", "auth", action=PUBLIC)
    def on_get(self, req: Request, resp: falcon.Response) -> schemas.SignupAccessPolicyResponse:
        return show_policy()


class Register:
    """Creates a tenant and its owner, and logs the owner in: all of it or nothing."""

    def __init__(self, hasher: PasswordHasher):
        self.hasher = hasher

    @endpoint("Register Tenant", "auth", action=PUBLIC, status=201, answer_headers=(DEVICE_HEADER,))
    @in_line
    def on_post(
        self, req: Request, resp: falcon.Response, body: schemas.UserRegisterRequest
    ) -> schemas.UserRegisterResponse:
        if len(body.display_name or "") > LONGEST_NAME:
            text = f"A display name has {LONGEST_NAME} characters at most."
            raise Invalid.at("body", "display_name", msg=text, code="string_too_long")
        with metrics.signup_attempt(show_policy().policy):
            signup.count_attempt("signup", req.context.client)
            with signup.reserved_seat(body.invite_token, body.email) as reservation:
                tokens, tenant = self._register(req, body, reservation)
        return schemas.UserRegisterResponse(**show_tokens(tokens, resp).model_dump(), tenant_slug=tenant.slug)

    def _register(
        self, req: Request, body: schemas.UserRegisterRequest, reservation: Reservation | None
    ) -> tuple[IssuedTokens, Tenant]:
        """An invite has a limit of its own, its seats."""
        with (
            contextlib.nullcontext()
            if reservation
            else signup.charged_address("signup", body.email, req.context.client)
        ):
            registration = self._registration(body)
            with transaction():
                tokens, tenant = signup.register(registration, reservation, client=req.context.client)
                enqueue(MAIL_VERIFY, user_id=tokens.user_id)
                wish = changes.Start(
                    plan_code=registration.plan,
                    billing_email=registration.email,
                    longest_trial=registration.longest_trial,
                )
                provision(tenant, wish, f"user:{tokens.user_id}", req.context.client)
        return tokens, tenant

    def _registration(self, body: schemas.UserRegisterRequest) -> signup.Registration:
        release()  # hashing takes time
        with rejected_as_422("password"):
            password_hash = passwords.choose_password(body.password, body.email, hasher=self.hasher)
        return signup.Registration(
            email=body.email,
            password_hash=password_hash,
            tenant_name=body.tenant_name,
            display_name=body.display_name,
            plan_code=body.plan_code,
            trial_days=body.trial_days,
        )
