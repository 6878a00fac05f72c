"""Retrieve, then answer."""

from workers.workflows.declarations import Step, Workflow

WORKFLOW = Workflow(
    "retrieval",
    "Retrieval then Answer",
    "A librarian finds the passages of the organisation's files that matter; then a writer answers from them, with citations.",
    steps=(
        Step("retrieve", "librarian"),
        Step("answer", "writer"),
    ),
)
