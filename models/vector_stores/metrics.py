"""What is counted of vector stores, in the edge and in the workers."""

from models.platform.operation_metrics import Operations

NAMES = ("create", "delete", "attach", "detach", "index", "search", "sync", "expire")
OPERATIONS = Operations("vector_store", "vector stores", NAMES)
