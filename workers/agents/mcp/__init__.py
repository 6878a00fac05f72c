"""Asking MCP servers, over streamable HTTP. The only package that imports their SDK, and only when a run needs it."""
