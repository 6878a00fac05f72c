"""Rows of containers in tests, and what the stand-in has of them."""


def make_container(tenant, name="work", *, status="running", provider_id=None, **columns):
    from models.containers.container import Container

    return Container.create(
        tenant_id=tenant.id, name=name, memory_limit="1g", status=status, provider_id=provider_id, **columns
    )


def at_provider(library, container=None):
    """{name: status} of what the provider has: for this container, or all that product has made."""
    prefix = f"longshore-{container.id.hex}-" if container else "longshore-"
    return {one["name"]: one["status"] for one in library.all("containers") if one["name"].startswith(prefix)}


def reload(container):
    from models.containers.container import Container

    return Container.get_by_id(container.id)
