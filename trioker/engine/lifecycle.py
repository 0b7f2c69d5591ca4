"""A container's life as a table. No I/O: a wrong move is a typed error, whatever the caller meant to do."""

import enum

from trioker.model.container import Phase


class Step(enum.Enum):
    """What can happen to a container."""

    START = "start"
    STARTED = "started"
    ENDED = "ended"
    REMOVE = "remove"


class WrongMoveError(Exception):
    """Our mistake: a step the container's phase does not allow, which the caller should have refused."""


MOVES = {
    (Phase.CREATED, Step.START): Phase.STARTING,
    (Phase.EXITED, Step.START): Phase.STARTING,
    (Phase.STARTING, Step.STARTED): Phase.RUNNING,
    (Phase.STARTING, Step.ENDED): Phase.EXITED,  # it never came to run, or ended while no daemon was there
    (Phase.RUNNING, Step.STARTED): Phase.RUNNING,  # found again by a new daemon
    (Phase.RUNNING, Step.ENDED): Phase.EXITED,
    (Phase.CREATED, Step.REMOVE): Phase.REMOVING,
    (Phase.EXITED, Step.REMOVE): Phase.REMOVING,
    (Phase.REMOVING, Step.REMOVE): Phase.REMOVING,  # a removal that failed half-way is tried again
}


def move(phase: Phase, step: Step) -> Phase:
    """The phase after ``step``. Raises WrongMoveError."""
    try:
        return MOVES[phase, step]
    except KeyError:
        raise WrongMoveError(f"{step.value} is no step of a container that is {phase.value}") from None
