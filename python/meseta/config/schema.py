"""The JSON Schema of a `version: 1` file, draft 7, as editors and yaml-language-server read it."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from meseta.config.model import File

DRAFT = "http://json-schema.org/draft-07/schema#"


class _Draft7(GenerateJsonSchema):
    schema_dialect = DRAFT


def json_schema() -> dict[str, Any]:
    """Return the schema, generated from the models that also validate."""
    schema = File.model_json_schema(ref_template="#/definitions/{model}", schema_generator=_Draft7)
    definitions = {name: _tidy(body) for name, body in schema.pop("$defs", {}).items()}
    return {
        "$schema": DRAFT,
        "title": "Meseta configuration",
        **_tidy(schema, keep_title=False),
        "definitions": definitions,
    }


def _tidy(node: Any, *, keep_title: bool = False) -> Any:
    """Drop generated titles and defaults, and put what stands beside a `$ref` where draft 7 sees it."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidy: dict[str, Any] = {
        key: ({name: _tidy(part) for name, part in value.items()} if key == "properties" else _tidy(value))
        for key, value in node.items()
        if (key != "title" or keep_title) and key not in {"default", "discriminator"}
    }
    if "description" in tidy:
        tidy["description"] = " ".join(tidy["description"].split())
    if "$ref" in tidy and len(tidy) > 1:
        # Draft 7 ignores whatever stands beside a $ref.
        tidy["allOf"] = [{"$ref": tidy.pop("$ref")}]
    if "oneOf" in tidy:
        # Members of our unions are told apart by type, so that "any of" says the same with clearer messages.
        tidy["anyOf"] = tidy.pop("oneOf")
    return tidy
