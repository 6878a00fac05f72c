"""Asking MCP servers, over streamable HTTP. The only package that imports their SDK."""

import logging

# The SDK quotes what servers answer, and the ids of sessions. What matters is logged by the module `sessions`.
logging.getLogger("mcp").setLevel(logging.CRITICAL)
