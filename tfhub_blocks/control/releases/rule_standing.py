"""Whether a release holds the rules of the profile that it is submitted with, as of today."""

from dataclasses import replace

from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.releases.release_names import replay_settings
from tfhub_blocks.control.repository.git_state import latest_day
from tfhub_blocks.control.rules.checked_repository import Repository
from tfhub_blocks.control.rules.rule_checks import check, load_rules
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.releases import ReleaseLock

_TOLD = 3


def check_rules(lock: ReleaseLock, profile: Profile) -> None:
    """See that no error stands, of those that ``tfhub-blocks check`` finds, for a release.

    An exception that has expired covers nothing, also where the clock was set back: today is not
    before the newest commit.

    Raises:
        BlocksError: One does; the first are told.
    """
    repository = Repository(replace(profile, inputs={}), latest_day("submit"))
    subject = repository.subject(lock.pipeline, replay_settings(lock))
    report = check(repository.profile, [subject], load_rules())
    found = [it for it in report.findings if it.stands]
    if found:
        told = "; ".join(f"{it.rule}, {it.node}: {it.problem}" for it in found[:_TOLD])
        if len(found) > _TOLD:
            told += f"; and {len(found) - _TOLD} more"
        raise BlocksError(
            "submit",
            f"release {lock.name}",
            f"it does not hold the rules: {told}",
            "no error that stands",
            f"see all of it: tfhub-blocks check {lock.name} --profile {profile.name}",
        )
