"""Eight branches, each with a message of its own: the question is a JSON list of what they are told."""

import json

from workers.workflows.declarations import Stage, Step, Workflow


def told(number):
    def mapper(value, steps):
        return json.loads(value)[number]

    return mapper


def is_told(number):
    def guard(value, steps):
        return number < len(json.loads(value))

    return guard


def join(outputs):
    return "|".join(outputs)


BRANCHES = tuple(
    Step(f"b{number}", "data_analyst", guard=is_told(number), input_mapper=told(number)) for number in range(8)
)
WORKFLOW = Workflow(
    "branches",
    "Branches",
    "Eight branches with messages of their own.",
    stages=(Stage("fan", BRANCHES, mode="parallel", reducer=join),),
)
