"""The wire's shapes, one file per tag of the contract. What validates requests also writes /openapi.json."""
