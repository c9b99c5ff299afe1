"""What the harness tells whoever follows a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bench.data.records import Record
    from bench.plan.plan import Slot


class Listener(Protocol):
    """Receives the progress of a run."""

    def sample_begins(self, slot: Slot) -> None:
        """A process is about to be started."""

    def sample_ended(self, record: Record) -> None:
        """Its record has been written, now or before the run was resumed."""

    def sample_repeats(self, slot: Slot) -> None:
        """The sample was disturbed and will be taken again."""

    def slot_skipped(self, slot: Slot) -> None:
        """The slot was skipped: its cell keeps failing, the budget is spent, or the precision is reached."""
