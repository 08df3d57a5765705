"""The rule on exceptions: each exception to a rule expires."""

from collections.abc import Iterator

from tfhub_blocks.control.rules.rule import Finding, rule
from tfhub_blocks.control.rules.subject import Subject


@rule(
    "exception-expired",
    demand="an exception has not expired",
    why="its owner promised a fix by that date, and the rule applies again from then on",
    trial="warning",
)
def exception_expired(subject: Subject) -> Iterator[Finding]:
    """Find exceptions whose last day is over."""
    for index, one in enumerate(subject.profile.exceptions):
        if one.expires < subject.today:
            yield subject.at_profile(
                f"exceptions.{index}",
                f"the exception of {one.owner} for {one.rule} expired on {one.expires}: "
                f"{one.reason}",
                f"Fix the finding of {one.rule}, and remove the exception from the profile",
            )
