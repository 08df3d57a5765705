"""How an online endpoint's traffic is shared out among its deployments."""

from collections.abc import Mapping


def share_traffic(now: Mapping[str, int], name: str, share: int | None) -> dict[str, int]:
    """What each deployment gets, in percent, when one of them gets a share.

    The others keep what they have in proportion. None is all where no other has any, and else what
    it has now. One without others gets all or nothing, as Azure has it.
    """
    others = {key: value for key, value in now.items() if key != name and value}
    if share is None:
        share = now.get(name, 0) if others else 100
    if not others:
        return {name: 100} if share else {}
    rest, held = 100 - share, sum(others.values())
    kept = {key: rest * value // held for key, value in others.items()}
    largest = max(kept, key=lambda key: (others[key], key))
    kept[largest] += rest - sum(kept.values())
    return {key: value for key, value in {**kept, name: share}.items() if value}
