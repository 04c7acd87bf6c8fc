"""The page of error codes: the native table of the request path, and our own of the configuration."""

from __future__ import annotations

from meseta.config.problems import CODES
from meseta.native import core
from meseta.reference.markdown import NOTE, paragraph


def page() -> str:
    """`docs/reference/errors.md`."""
    lines = [
        "# Errors",
        "",
        NOTE,
        "",
        *paragraph(
            """
            Every failure has a stable code. A client finds it in the body, in the shape of its own API,
            with the request's id; the log's row has it too. `meseta explain CODE` prints what stands here.
            """
        ),
        "",
        "```json",
        '{"error": {"message": "…", "type": "…", "param": "…", "code": "…", "request_id": "req_…"}}',
        "```",
        "",
        *paragraph(
            """
            In a stream that has begun, the same document is one event. What the HTTP parser itself refuses
            (a malformed head, or one that is too large) is answered 400 or 431 without a body, for there is
            no request yet. **Blame** says who can put it right; **retry** says whether the same request can
            succeed
            later at the same target (`same`), at another one (`elsewhere`), or not (`never`).
            """
        ),
        "",
        "## On the request path",
    ]
    for code, status, blame, retry, cause, cure in core().error_codes():
        shown = "the provider's own" if code == "upstream.rejected" else str(status)
        lines += ["", f"### {code}", "", f"Status {shown}, blame {blame}, retry {retry}.", ""]
        lines += [*paragraph(cause), "", *paragraph(cure)]
    lines += ["", "## In the configuration"]
    for entry in CODES:
        lines += ["", f"### {entry.name}", "", *paragraph(entry.cause), "", *paragraph(entry.cure)]
    return "\n".join(lines) + "\n"
