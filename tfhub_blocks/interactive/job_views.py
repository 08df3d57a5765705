"""Parts of a job as Python shows them: its steps, its explanation, and its progress."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.control.project.run_records import StepRecord
from tfhub_blocks.records.base.templates import render


@dataclass(frozen=True)
class StepView:
    """One step of a job."""

    name: str
    _record: StepRecord

    @property
    def status(self) -> str:
        """The status, in the words of Azure ML."""
        return self._record.status

    @property
    def reused(self) -> bool:
        """True if the outputs are those of an earlier run."""
        return self._record.reused

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return self._record.seconds

    @property
    def error(self) -> str:
        """The sentence of the error, or an empty text."""
        return self._record.error

    @property
    def outputs(self) -> dict[str, Path]:
        """The path of each output."""
        return {port: Path(path) for port, path in self._record.outputs.items()}

    @property
    def log(self) -> str:
        """The log of the step; an empty text if it was reused or has not started."""
        path = Path(self._record.log) if self._record.log else None
        if path is None or not path.is_file():
            return ""
        return path.read_text(encoding="utf-8", errors="replace")


class Explanation(dict[str, str]):
    """The reason of each step by its name; a notebook shows it as a table."""

    def __str__(self) -> str:
        """Return one line for each step."""
        return "\n".join(f"{name:<14} {text}" for name, text in self.items())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return render(__file__, rows=self.items())


def show_progress(job: Any, has_ended: Callable[[], bool], poll_s: float) -> None:
    """Show a job until it ends: live in a notebook, otherwise a line for each change."""
    import time

    display = _notebook_display()
    if display is None:
        from tfhub_blocks.control.local.run_display import live_table

        with live_table(sys.stdout) as on_change:
            while not has_ended():
                on_change(job.record)
                time.sleep(poll_s)
            on_change(job.record)
        return
    shown = job._repr_html_()
    handle = display({"text/html": shown, "text/plain": repr(job)}, raw=True, display_id=True)
    while True:
        ended = has_ended()
        if (now := job._repr_html_()) != shown:
            handle.update({"text/html": now, "text/plain": repr(job)}, raw=True)
            shown = now
        if ended:
            return
        time.sleep(poll_s)


def _notebook_display() -> Any:
    """Return IPython's function in a notebook, or None; IPython itself is never imported first."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return display
