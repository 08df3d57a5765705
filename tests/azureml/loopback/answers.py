"""What goes back to clients, and errors in the form of Azure."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """What goes back to the client."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):  # noqa: N818  # it is an answer
    """An error answer, in Azure's form."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, {"error": {"code": code, "message": message}})
