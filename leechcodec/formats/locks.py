"""Locks on open files: one run at a time writes to an output."""

from leechcodec.errors import LqError


class LockedError(LqError):
    """Another process holds the lock."""


def lock(descriptor: int, message: str) -> None:
    """Hold a file until it is closed; the system lets go of it when a process dies. Raises LockedError with a message
    where another process has it. Where there are no locks, on Windows and some file systems, nothing happens."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(message) from None
    except OSError:
        return
