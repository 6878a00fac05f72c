"""The secrets of a tenant's webhook."""

import base64
from datetime import timedelta

import pytest
from pydantic import SecretStr

from models.platform.audit import AuditEvent
from models.platform.client_info import UNKNOWN_CLIENT
from models.platform.clock import now


@pytest.fixture
def rotate(tenant, person):
    from models.platform.database import transaction
    from models.tenants import webhook_secrets

    admin = person("admin")

    def act():
        with transaction():
            return webhook_secrets.rotate(admin, tenant.id, UNKNOWN_CLIENT)[0]

    return act


def signing(tenant):
    from models.platform.database import transaction
    from models.tenants import webhook_secrets

    with transaction():
        return webhook_secrets.signing(tenant.id)


def age(hours):
    from models.tenants.settings import TenantSettings

    TenantSettings.update(webhook_secret_changed_at=now() - timedelta(hours=hours)).execute()


def test_a_secret_has_the_form_of_standard_webhooks_and_is_stored_encrypted(tenant, rotate):
    from models.tenants.settings import TenantSettings

    secret = rotate()
    assert secret.startswith("whsec_") and len(base64.b64decode(secret[6:])) == 32
    assert secret[6:] not in TenantSettings.get().webhook_secret
    assert AuditEvent.get().details == {}, "the secret is not on record"


def test_the_former_secret_signs_for_a_day(tenant, rotate):
    first, second = rotate(), rotate()
    assert signing(tenant) == [second, first]
    age(25)
    assert signing(tenant) == [second]
    third = rotate()
    assert signing(tenant) == [third, second]


def test_the_first_use_makes_a_secret_which_stays(tenant):
    [made] = signing(tenant)
    assert signing(tenant) == [made]


def test_a_secret_that_was_lost_with_its_key_can_be_replaced(tenant, rotate, configure):
    from models.platform.encryption import CannotDecrypt

    rotate()
    configure(secret_key=SecretStr("z" * 64), secret_key_previous=None)
    with pytest.raises(CannotDecrypt):
        signing(tenant)
    fresh = rotate()
    assert signing(tenant) == [fresh]


def test_a_new_key_reads_what_the_former_one_has_encrypted_and_then_does_without_it(tenant, rotate, configure):
    from models.tenants import webhook_secrets

    configure(secret_key=SecretStr("a" * 64))
    secrets = [rotate(), rotate()][::-1]
    configure(secret_key=SecretStr("b" * 64), secret_key_previous=SecretStr("a" * 64))
    assert (webhook_secrets.encrypt_again(), webhook_secrets.encrypt_again()) == (2, 0)
    configure(secret_key_previous=None)
    assert signing(tenant) == secrets


def test_a_rotation_keeps_the_settings_and_their_version(tenant, rotate):
    from models.tenants.settings import TenantSettings

    rotate()
    row = TenantSettings.of_tenant(tenant.id)
    assert (row.version, row.updated_at, row.billing_contacts) == (0, None, [])
