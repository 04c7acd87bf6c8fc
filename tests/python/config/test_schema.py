from __future__ import annotations

from typing import Any

from meseta.config import json_schema


def every_part(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        return [node, *(part for value in node.values() for part in every_part(value))]
    return [part for value in node for part in every_part(value)] if isinstance(node, list) else []


def test_it_is_draft_7() -> None:
    schema = json_schema()
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    for part in every_part(schema):
        assert "$defs" not in part
        assert "$ref" not in part or list(part) == ["$ref"]
        assert not part.keys() & {"discriminator", "prefixItems", "unevaluatedProperties"}


def test_every_key_has_a_description() -> None:
    schema = json_schema()
    for name, section in {"File": schema, **schema["definitions"]}.items():
        assert section["additionalProperties"] is False, name
        for key, field in section["properties"].items():
            assert field.get("description", "").endswith((".", "`")), f"{name}.{key}"


def test_references_lead_somewhere() -> None:
    schema = json_schema()
    for part in every_part(schema):
        if "$ref" in part:
            assert part["$ref"].removeprefix("#/definitions/") in schema["definitions"]
