"""One step, over the Chat Completions wire."""

from workers.workflows.declarations import Step, Workflow

WORKFLOW = Workflow("solo_chat", "Solo", "Asks one agent.", steps=(Step("only", "solo_chat"),))
