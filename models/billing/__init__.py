"""How much of the platform tenants may use."""
