"""`python -m workers.agents [FOLDER]`: what the catalogue has, or what is wrong with it. FOLDER: instead of AGENTS_PATH."""

import sys

from models.platform.settings import settings
from workers.agents.catalog import catalog
from workers.workflows.catalog import workflows


def main(arguments: list[str]) -> int:
    """Returns 0. SystemExit with all faults, and for arguments that cannot be understood."""
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        raise SystemExit((__doc__ or "").strip())
    if arguments:
        settings.agents_path = arguments[0]
    found = catalog()
    for agent in found.agents.values():
        names = [*(tool.name for tool in found.tools_of(agent)), *(handoff.tool for handoff in agent.targets)]
        default = ", the default" if agent is found.default else ""
        print(f"agent {agent.key} ({agent.model_name}{default}): {', '.join(names) or 'no tools'}")
    for tool in found.tools.values():
        print(f"tool {tool.name} ({tool.kind}, {tool.category}): {tool.description.splitlines()[0]}")
    for key, workflow in workflows().by_key.items():
        steps = [f"{step.name} ({step.agent})" for stage in workflow.all_stages for step in stage.steps]
        print(f"workflow {key}: {', '.join(steps)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
