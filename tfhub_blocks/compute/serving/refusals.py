"""Refusals: why a request is not answered, as a status of HTTP and a sentence for who sent it."""

from typing import Any

RETRY_AFTER_S = 1


class Refusal(Exception):  # noqa: N818 - it is an answer, and no error of ours
    """A request that is not answered.

    Args:
        status: The status of HTTP, 400 or more.
        sentence: What is wrong and what was expected; nothing of what was sent is quoted.
        item: Which of the request's items it is about, if one is to blame.
    """

    def __init__(self, status: int, sentence: str, item: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.item = item

    @property
    def headers(self) -> dict[str, str]:
        """When to try again, where that may help."""
        return {"retry-after": str(RETRY_AFTER_S)} if self.status in (429, 503) else {}

    def about(self, item: int) -> "Refusal":
        """The same, about one of several items."""
        return Refusal(self.status, self.sentence, item)

    def as_dict(self) -> dict[str, Any]:
        """The body of the answer."""
        place = {} if self.item is None else {"item": self.item}
        return {"error": self.sentence, **place}


def too_many() -> Refusal:
    """What is said where the queue is full."""
    return Refusal(429, "too many requests wait already: send it again later")
