"""What a call is refused with: an HTTP status and REDCap's wording."""

from __future__ import annotations


class ApiError(Exception):
    """Becomes the error body of the answer, in the format asked for."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)


def refuse_rows(problems: list[str]) -> None:
    """Raise all row problems as one message, or return when there are none.

    Raises:
        ApiError: there are problems; nothing of the request may then be stored.
    """
    if problems:
        raise ApiError(400, "\n".join(problems))


def row_problem(record: str, field: str, value: str, reason: str) -> str:
    """One line of an import's error message."""
    return ",".join('"' + part.replace('"', '""') + '"' for part in (record, field, value, reason))
