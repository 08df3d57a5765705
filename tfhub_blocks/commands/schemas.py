"""``schema``: print the JSON Schema of a TOML file that people write."""

import argparse
import json
from importlib import import_module
from typing import Any

from tfhub_blocks.commands.status import DONE

# The files of a kind, and the dataclass that its reader uses.
KINDS = {
    "profile": ("pipelines/profiles/NAME.toml", "control.project.profiles", "Profile"),
    "schedule": ("pipelines/schedules/NAME.toml", "control.project.schedule_files", "ScheduleFile"),
    "prices": ("pipelines/prices.toml", "control.costs.prices", "Prices"),
    "ci": ("pipelines/ci.toml", "control.automation.ci_settings", "CiSettings"),
    "pin": ("encoder.toml", "records.pins.pins", "Pin"),
}


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    schema = commands.add_parser(
        "schema",
        help="Print the JSON Schema of a TOML file, for editors.",
        description="Print the JSON Schema of a kind of TOML file. An editor with the schema"
        " completes keys, explains them, and marks a key that tfhub-blocks refuses. For example:"
        " tfhub-blocks schema profile > profile.schema.json, and the first line"
        " #:schema ./profile.schema.json in the profile.",
    )
    kinds = ", ".join(f"{kind} ({files})" for kind, (files, _, _) in KINDS.items())
    schema.add_argument("kind", metavar="KIND", choices=tuple(KINDS), help=kinds)
    schema.set_defaults(command=_schema)


def schema_text(kind: str) -> str:
    """Return the JSON Schema of a kind as indented JSON."""
    return json.dumps(schema_of(kind), indent=2, ensure_ascii=False) + "\n"


def schema_of(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a kind, from the dataclass that its reader uses."""
    from tfhub_blocks.records.base.document_schemas import document_schema

    files, module_name, name = KINDS[kind]
    module = import_module(f"tfhub_blocks.{module_name}")
    version = module.PIN_VERSION if kind == "pin" else module.FORMAT_VERSION
    return document_schema(getattr(module, name), version, f"tfhub-blocks {kind}: {files}")


def _schema(options: argparse.Namespace) -> int:
    print(schema_text(options.kind), end="")
    return DONE
