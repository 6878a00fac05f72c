"""What is counted of containers, in the edge and in the workers."""

from models.platform.operation_metrics import Operations

OPERATIONS = Operations(
    "container", "containers", ("create", "delete", "bind", "unbind", "refresh", "remove", "replace")
)
