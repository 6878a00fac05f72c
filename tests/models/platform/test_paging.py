"""Pages of lists by limit and offset."""

import pytest

from models.auth.tenants import Tenant
from models.platform.paging import Page


@pytest.mark.parametrize(
    ("limit", "offset", "slugs"), [(2, 0, ["a", "b"]), (2, 2, ["c"]), (10, 0, ["a", "b", "c"]), (2, 9, [])]
)
def test_a_page_has_a_slice_of_the_list_and_the_total(clean, limit, offset, slugs):
    for slug in ("b", "c", "a"):
        Tenant.create(slug=slug, name=slug)
    page = Page.of(Tenant.select().order_by(Tenant.slug), limit=limit, offset=offset)
    assert ([tenant.slug for tenant in page.items], page.total) == (slugs, 3)
