"""The agents and tools that come with the platform, one per file. AGENTS_PATH adds others in the same form."""
