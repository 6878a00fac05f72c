"""What a tenant's admins decide about it."""
