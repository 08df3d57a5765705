"""The review of two commits: both are read from private copies, and compared."""

from collections.abc import Collection
from datetime import date

from tfhub_blocks.control.repository.git_objects import GitObjects
from tfhub_blocks.control.review.commit_reading import read_state
from tfhub_blocks.control.review.guarded_changes import guarded_changes
from tfhub_blocks.control.review.past_spending import PastSpending
from tfhub_blocks.control.review.review_tables import Review
from tfhub_blocks.control.review.state_comparison import compare_states


def review_commits(
    objects: GitObjects,
    base: str,
    head: str,
    day: date,
    past: PastSpending,
    approved: Collection[str] = (),
) -> Review:
    """Return the review of a change from one commit to another.

    The change starts at the newest common ancestor of both, so commits that only the base has do
    not count as taken back. Without a common ancestor in the clone it starts at the base.

    Args:
        objects: The repository.
        base: The commit, branch or tag that the change is for.
        head: The commit of the change.
        day: The day of the review.
        past: The spending and the durations so far.
        approved: The names of the people who approved the change.

    Raises:
        BlocksError: A commit does not exist, or cannot be read.
    """
    one, other = objects.resolve(base), objects.resolve(head)
    one = objects.merge_base(one, other) or one
    before = read_state(objects, one, day, past)
    after = before if one == other else read_state(objects, other, day, past)
    spent = past.months.get(f"{day:%Y-%m}", {})
    found = compare_states(before, after, day, spent)
    return Review(found, guarded_changes(before, after, found, approved))
