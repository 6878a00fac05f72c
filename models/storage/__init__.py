"""The objects of tenants: files that people upload and that agents make. Their bytes are in S3."""
