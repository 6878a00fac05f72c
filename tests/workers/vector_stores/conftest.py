"""The provider's files and vector stores."""

from tests.support.provider import at_provider, library, library_url  # noqa: F401  (fixtures)
