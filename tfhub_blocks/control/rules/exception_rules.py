"""What is put up with is so for a time."""

from collections.abc import Iterator

from tfhub_blocks.control.rules.rule import Finding, rule
from tfhub_blocks.control.rules.subject import Subject


@rule(
    "exception-expired",
    demand="an exception has not expired",
    why="its date is what its owner promised; what it covered counts again from then on",
    trial="warning",
)
def exception_expired(subject: Subject) -> Iterator[Finding]:
    """The day that it names is its last."""
    for index, one in enumerate(subject.profile.exceptions):
        if one.expires < subject.today:
            yield subject.at_profile(
                f"exceptions.{index}",
                f"that of {one.owner} for {one.rule} expired on {one.expires}: {one.reason}",
                "mend what it covers, or take it out",
            )
