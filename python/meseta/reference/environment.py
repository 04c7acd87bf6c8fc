"""The page of the machine's own settings."""

from __future__ import annotations

from meseta.config.providers import AWS_REGIONS, PROVIDERS
from meseta.config.snapshot import usual_url
from meseta.reference.markdown import NOTE, listed, paragraph
from meseta.settings import FOR_AGENTS, SETTINGS


def page() -> str:
    """`docs/reference/environment.md`."""
    lines = [
        "# Environment variables",
        "",
        NOTE,
        "",
        *paragraph(
            """
            What belongs to the machine rather than to a configuration is set in the environment. A value that
            cannot be used stops the command with exit code 3.
            """
        ),
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| `{row.name}` | {row.default} | {row.description} |" for row in SETTINGS]
    lines += [
        "| `NO_COLOR` | unset | Any value keeps colour out of the output. |",
        "",
        "## Programs and agents",
        "",
        *paragraph(
            """
            Programs that use the Python package read these, and the agents that Meseta runs find them, beside
            PORT, on which they are to listen.
            """
        ),
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
        *(f"| `{row.name}` | {row.default} | {row.description} |" for row in FOR_AGENTS),
        "",
        "## Keys of providers",
        "",
        *paragraph(
            """
            Without a configuration file, `meseta up` serves every provider whose key it finds here or in a
            `.env` file in the working directory; where both have a variable, the environment wins. With a
            file, only variables that the file names are read, and those that the AWS and Google libraries
            read by themselves. `amazon_bedrock` also needs AWS_REGION or AWS_DEFAULT_REGION. `azure_openai`
            and `vertex_ai` need a file.
            """
        ),
        "",
        "| provider | variables, the first that is set wins |",
        "|---|---|",
    ]
    lines += [
        f"| `{provider.name}` | {listed(list(provider.variables))} |"
        for provider in PROVIDERS
        if provider.variables and usual_url(provider, dict.fromkeys(AWS_REGIONS, "us-east-1"))
    ]
    return "\n".join(lines) + "\n"
