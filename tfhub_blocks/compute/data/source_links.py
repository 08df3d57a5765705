"""Links in a source: refused where they lead out of the source, or followed and recorded."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tfhub_blocks.compute.data.fields import known_path, printable, refusal

if TYPE_CHECKING:
    from tfhub_blocks.compute.data.data_sources import ItemPlace

SHOWN = 5


@dataclass
class SourceLinks:
    """The links of a source that lead out of the source's folder.

    ``root`` is the folder. ``followed`` fills while places are checked: targets by paths.
    """

    root: Path
    is_followed: bool
    followed: dict[str, str] = field(default_factory=dict)

    def checked(self, places: Iterator["ItemPlace"]) -> Iterator["ItemPlace"]:
        """Yield the places, and check the links of each file before anything reads the file.

        Raises:
            BlocksError: A link leads out of the source, and links are not followed.
        """
        root = os.path.realpath(self.root)
        for place in places:
            if isinstance(place.content, Path) and place.fault is None:
                target = os.path.realpath(place.content)
                if os.path.commonpath([root, target]) != root:
                    self._leads_out(place.path, target)
            yield place

    def check_folder(self, name: str) -> None:
        """Check a link to a folder, by the path of the link relative to the root.

        Raises:
            BlocksError: Links are not followed, or the link leads back to a folder above itself.
        """
        if not self.is_followed:
            raise refusal(
                f"{name!r} is a link to a folder",
                "folders without links to other folders",
                "Replace the link by the folder",
            )
        path = self.root / name
        target = os.path.realpath(path)
        above = os.path.realpath(path.parent)
        if os.path.commonpath([above, target]) == target:
            raise refusal(
                f"{name!r} is a link that leads back to a folder above itself",
                "links without loops",
                "Remove the link",
            )

    def warnings(self) -> list[str]:
        """Return a sentence about the links that were followed, if any."""
        if not self.followed:
            return []
        first = [f"{path} -> {target}" for path, target in list(self.followed.items())[:SHOWN]]
        more = f" and {len(self.followed) - SHOWN} more" if len(self.followed) > SHOWN else ""
        return [f"files outside of the source were read through links: {', '.join(first)}{more}"]

    def _leads_out(self, path: str, target: str) -> None:
        if not self.is_followed:
            raise refusal(
                f"{path!r} is a link that leads out of the source, to {printable(target)!r}",
                "files in the source folder",
                "Replace the link by the file, or set follow_links to true (`encoder compare`: pass"
                " --follow-links)",
            )
        self.followed[path] = known_path(target)
