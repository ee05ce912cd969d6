"""The JSON Schema of an audit, generated from its classes.

``python -m diptych.auditing.schema`` prints it; ``docs/schemas/audit.json`` stores it.
"""

import json
from typing import Any

from pydantic import TypeAdapter

from diptych.auditing.harm import ORDER
from diptych.auditing.report import SCHEMA, STAGES, Audit
from diptych.printing import say

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ANSWERS = {
    "schema": {"const": SCHEMA, "description": "The number of this schema."},
    "same": {"type": "boolean", "description": "Only accepted differences, or none, were found."},
    "complete": {"type": "boolean", "description": "Every stage compared everything."},
    "conclusion": {"type": "string", "description": "The answer in one line."},
}
"""Properties that an audit computes."""


def schema() -> dict[str, Any]:
    """The JSON Schema of what ``diptych audit --json`` writes."""
    made = TypeAdapter(Audit).json_schema(mode="serialization")
    definitions = made["$defs"]
    for part in (made, *definitions.values()):
        part["required"] = list(part["properties"])
        part["additionalProperties"] = False
        for named in part["properties"].values():
            named.pop("default", None)
            named.pop("title", None)
    properties = definitions["Finding"]["properties"]
    properties["code"]["description"] = "The cause; new causes may be added without a new schema."
    properties["stage"]["enum"] = list(STAGES)
    properties["harm"]["enum"] = list(ORDER)
    definitions["Stage"]["properties"]["name"]["enum"] = list(STAGES)
    made["properties"] |= ANSWERS
    made["required"] += list(ANSWERS)
    return {"$schema": DIALECT, **made | {"title": "An audit"}}


def main() -> None:
    """Prints the schema."""
    say(json.dumps(schema(), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
