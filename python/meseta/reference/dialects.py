"""The page of the dialects: what becomes of each feature, and what came of each conversation."""

from __future__ import annotations

import re
from pathlib import Path

from meseta.native import core
from meseta.reference.markdown import NOTE, paragraph

CONVERSATIONS = Path(__file__).parents[3] / "tests" / "conversations"

DIALECTS = {
    "openai_chat": ("chat", "OpenAI chat"),
    "openai_responses": ("responses", "OpenAI Responses"),
    "anthropic_messages": ("messages", "Anthropic Messages"),
    "gemini_generate_content": ("gemini", "Gemini"),
    "bedrock_converse": ("converse", "Bedrock Converse"),
}
"""Name to the name in golden files and the title."""

CLIENTS = ("openai_chat", "openai_responses", "anthropic_messages")


def page() -> str:
    """`docs/reference/dialects.md`."""
    lines = [
        "# Dialects",
        "",
        NOTE,
        "",
        *paragraph(
            """
            A client speaks OpenAI chat completions, OpenAI Responses or Anthropic Messages; a provider
            speaks one of these, Gemini's generateContent or Bedrock's Converse. Where both speak the same,
            every byte passes but the model's name and, in a chat stream, the option that asks for usage.
            Everywhere else the request and the answer are translated, and this page says what gets lost.
            What is left out or changed is named in the header `x-meseta-dropped` and in the log's row;
            what cannot be said at all is refused with 400 `request.unsupported`, which names the field.
            Nothing is lost silently.
            """
        ),
        "",
        "## What becomes of each feature",
        "",
        *fates(),
        "",
        "## What came of each conversation",
        "",
        *paragraph(
            """
            The test plays each conversation from each client to each provider, whole and streamed, and
            checks that text, thoughts, calls, the reason of the end and usage arrive. **exact**: byte for
            byte. **yes**: translated, and nothing is lost. Names of fields: translated without them, or
            with them in another form. **refused**: 400, before the provider is asked. A dash: the client's
            dialect cannot say it. A status is the provider's own error, which arrives in the client's
            shape.
            """
        ),
    ]
    for client in CLIENTS:
        lines += ["", f"### From {DIALECTS[client][1]}", "", *matrix(DIALECTS[client][0])]
    return "\n".join(lines) + "\n"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a table."""
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def fates() -> list[str]:
    """Return the table of features and dialects, and the notes under it."""
    features = core().features()
    titles = [title for _, title in DIALECTS.values()]
    rows = [
        [feature["name"], *(feature["fates"][dialect] for dialect in DIALECTS)]
        for feature in features
        if feature["name"] != "fields that only one dialect has"
    ]
    lines = [*table(["Feature", *titles], rows), "", "Where it is not carried:", ""]
    for feature in features:
        if feature["note"]:
            written = ", ".join(
                f"`{path}` ({DIALECTS[dialect][0]})" for dialect, path in feature["paths"].items() if path
            )
            where = f" Written as {written}." if written else ""
            lines += paragraph(f"- **{feature['name']}**: {feature['note']}{where}")
    return lines


def matrix(client: str) -> list[str]:
    """Return the table of one client: conversations by providers."""
    providers = [name for name, _ in DIALECTS.values()]
    rows = []
    for path in sorted((CONVERSATIONS / "golden").glob("*.txt")):
        cells = outcomes(path.read_text("utf-8"), client)
        name = path.stem.split("-", 1)[1].replace("-", " ")
        link = f"[{name}](../../tests/conversations/{path.name})"
        rows.append([link, *(cells.get(provider, "-") for provider in providers)])
    return table(["Conversation", *(title for _, title in DIALECTS.values())], rows)


def outcomes(golden: str, client: str) -> dict[str, str]:
    """Return what came of the pairs of one client, by the provider's name."""
    found: dict[str, str] = {}
    for section in golden.split("=== ")[1:]:
        pair, _, content = section.partition("\n")
        if pair.startswith(f"{client} > "):
            found[pair.split(" > ")[1]] = outcome(content)
    return found


def outcome(content: str) -> str:
    """Return what came of one pair, in a word or by the fields that were lost."""
    if content.startswith("exact"):
        return "exact"
    if not re.search(r"^upstream ", content, re.MULTILINE):
        return "refused"
    lost: list[str] = []
    statuses = []
    for status, dropped in re.findall(
        r"^(?:whole|streamed) (\d+)(?: dropped: ([^;]*);)?", content, re.MULTILINE
    ):
        statuses.append(status)
        lost += [field for field in dropped.split(", ") if field and field not in lost]
    if lost:
        return ", ".join(f"`{field}`" for field in lost)
    return "yes" if "200" in statuses else statuses[0]
