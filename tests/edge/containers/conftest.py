"""The provider's containers."""

from tests.support.provider import library, library_url  # noqa: F401  (fixtures)
