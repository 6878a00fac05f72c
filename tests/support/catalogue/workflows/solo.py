"""One step, over the Responses wire."""

from workers.workflows.declarations import Step, Workflow

WORKFLOW = Workflow("solo", "Solo", "Asks one agent.", steps=(Step("only", "solo"),))
