"""The engine's hold on one container: its record, its lock, its streams, its run."""

import attrs
import trio

from trioker.engine.hub import Hub
from trioker.engine.lifecycle import Step, move
from trioker.engine.ports import Process
from trioker.model.container import Container, State


class ActiveRun:
    """A run from its start until everything about its end is recorded."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.ended = trio.Event()
        """Set when the container is not running any more."""
        self.settled = trio.Event()
        """Set when the end is stored and nothing of the run is left on the host."""


class Cell:
    """One container. Changes happen under ``lock``; reading ``record`` never waits."""

    def __init__(self, record: Container) -> None:
        self.record = record
        self.lock = trio.Lock()
        self.hub = Hub(record.id)
        self.run: ActiveRun | None = None
        self.frozen = False
        """Stopped in its tracks while its files are read."""

    @property
    def state(self) -> State:
        """The present state."""
        return self.record.state

    @property
    def running(self) -> Process | None:
        """The process of a run that has not ended."""
        return None if self.run is None or self.run.ended.is_set() else self.run.process

    def step(self, step: Step, **changes: object) -> None:
        """Move along the life-cycle table, changing further fields of the state."""
        phase = move(self.state.phase, step)
        self.record = attrs.evolve(self.record, state=attrs.evolve(self.state, phase=phase, **changes))  # type: ignore[arg-type]
