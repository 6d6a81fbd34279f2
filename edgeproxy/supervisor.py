"""Processes: a parent that does nothing but keep its children alive, tell them what the signals mean, and end them.

It is synchronous and serves nobody, so that there is little in it that can fail. It opens nothing itself: what children
inherit (listening sockets, the shared page) is made before `run`. A child that dies is started again with the very same
sockets, so a connection that waits in a socket's queue is not lost.

    SIGTERM, SIGINT   drain, then exit 0; a second one: at once        SIGHUP    read the configuration anew
    SIGUSR1           reopen the logs
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

log = logging.getLogger(__name__)

Message = Mapping[str, Any]  # Any: a JSON object, checked where it is read

RESTART_PAUSES = (0.0, 0.2, 1.0, 5.0)
"""Seconds before a child that died is started again, by its deaths within STEADY seconds; the last one repeats."""
STEADY = 10.0
SEND_PATIENCE = 5.0
"""Seconds a message to another process may take; its socket's buffer holds many."""
FORK_PAUSE = 1.0
"""Seconds until the next try when the system has no room for another process."""
KILL_MARGIN = 5.0
"""Seconds a child has after its drain deadline before it is killed."""


class Channel:
    """One end of a socket pair between parent and child: one JSON object a line."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.end = end
        self._rest = b""

    def fileno(self) -> int:
        return self.end.fileno()

    def send(self, message: Message) -> None:
        """Send a message; one to a process that is gone is dropped.

        To one that takes nothing for SEND_PATIENCE the channel is cut, which both ends see: half a message is worse
        than none, and the parent must not hang with a child that does.
        """
        self.end.settimeout(SEND_PATIENCE)
        try:
            self.end.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            with contextlib.suppress(OSError):
                self.end.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self.end.setblocking(False)

    def receive(self) -> list[Message] | None:
        """What has come; None when the other process is gone."""
        try:
            data = self.end.recv(1 << 20)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]


@dataclass(eq=False)
class Child:
    """A process to keep alive. `run` is its whole life, in the child, and returns its exit code."""

    name: str
    run: Callable[[Channel], int]
    started: Callable[[], None] = lambda: None
    """In the parent, before each start."""
    ready: Callable[[Message], None] = lambda message: None
    """In the parent, when it says that it is ready; the message may tell more."""
    ended: Callable[[], None] = lambda: None
    """In the parent, when it has ended after it was ready."""
    heard: Callable[[Message], None] = lambda message: None
    """In the parent, with every message of its own."""
    gone: Callable[[], None] = lambda: None
    """In the parent, when it has ended, however."""
    stage: int = 0
    """When all are told to stop, those of a higher stage are told only after those of lower ones have ended."""
    sockets: Sequence[socket.socket] = ()
    """Listening sockets it needs; it closes those of the others, so that a drained one really refuses."""
    pid: int = 0
    channel: Channel | None = None
    is_ready: bool = False
    was_ready: bool = False
    deaths: list[float] = field(default_factory=list)
    start_at: float = 0.0


class Supervisor:
    """Runs children until it is told to stop. `reload` gives the message all children get on SIGHUP, None for none."""

    def __init__(
        self,
        children: list[Child],
        *,
        deadline: float,
        reload: Callable[[], Message | None] = lambda: None,
        all_ready: Callable[[], None] = lambda: None,
        draining: Callable[[], None] = lambda: None,
    ) -> None:
        self._children = children
        self._deadline = deadline
        self._reload = reload
        self._all_ready = all_ready
        self._draining = draining
        self._announced = False
        self._stopping_since: float | None = None
        self._stage = -1
        self._failed = False
        self._killed = False
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Start everything; returns the exit code when all have ended: 0 after a drain, 1 when a start failed."""
        wake_in, wake_out = socket.socketpair()
        for end in (wake_in, wake_out):
            end.setblocking(False)
        handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
        before = {number: signal.signal(number, lambda number, frame: None) for number in handled}
        old_wakeup = signal.set_wakeup_fd(wake_out.fileno(), warn_on_full_buffer=False)
        self._selector.register(wake_in, selectors.EVENT_READ)
        gc.collect()
        gc.freeze()  # what exists now is shared with the children for good: the collector must not touch its pages
        try:
            while self._living() or self._stopping_since is None:
                self._start_due()
                for key, _ in self._selector.select(self._pause()):
                    if key.fileobj is wake_in:
                        self._on_signals(wake_in.recv(4096))
                    else:
                        self._on_channel(key.data)
                self._reap()
                self._kill_late()
        finally:
            signal.set_wakeup_fd(old_wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            wake_in.close()
            wake_out.close()
            self._selector.close()
        return 1 if self._failed else 0

    def _living(self) -> bool:
        return any(child.pid for child in self._children)

    def _pause(self) -> float | None:
        now = time.monotonic()
        due = [child.start_at - now for child in self._children if not child.pid and self._stopping_since is None]
        if self._stopping_since is not None and not self._killed:
            due.append(self._stopping_since + self._deadline + KILL_MARGIN - now)
        return max(0.0, min(due)) if due else None

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if not child.pid and self._stopping_since is None and child.start_at <= now:
                self._start(child)

    def _start(self, child: Child) -> None:
        child.started()
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            ours, theirs = socket.socketpair()
            try:
                pid = os.fork()
            except OSError:
                ours.close()
                theirs.close()
                raise
        except OSError as error:  # out of processes, memory or descriptors: those who run go on
            log.error("%s cannot be started now: %s", child.name, error)
            child.start_at = time.monotonic() + FORK_PAUSE
            return
        if pid == 0:
            ours.close()
            self._become(child, theirs)
        theirs.close()
        child.pid = pid
        child.is_ready = False
        child.channel = Channel(ours)
        self._selector.register(child.channel, selectors.EVENT_READ, child)

    def _become(self, child: Child, end: socket.socket) -> NoReturn:
        """In the child: forget everything that is the parent's, live, and leave without its clean-up."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # A terminal, or a service manager, signals everybody at once; only the parent decides what that means.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
                signal.signal(number, signal.SIG_IGN)
            for other in self._children:
                if other.channel is not None:
                    other.channel.end.close()
                for listener in other.sockets:
                    if listener not in child.sockets:
                        listener.close()
            self._selector.close()
            code = child.run(Channel(end))
        except BaseException:  # the last frame of this process: nothing above could report it
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop()
            elif number == signal.SIGHUP:
                message = self._reload()
                if message is not None:
                    self._tell(message)
            elif number == signal.SIGUSR1:
                self._tell({"do": "reopen"})

    def _tell(self, message: Message) -> None:
        for child in self._children:
            if child.channel is not None:
                child.channel.send(message)

    def _stop(self) -> None:
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
            self._draining()
            self._stop_next_stage()
            return
        for child in self._children:
            if child.pid:
                os.kill(child.pid, signal.SIGKILL)

    def _stop_next_stage(self) -> None:
        """Tell the lowest stage that still lives; it is not told twice."""
        living = [child.stage for child in self._children if child.pid]
        if not living or self._stage == min(living):
            return
        self._stage = min(living)
        for child in self._children:
            if child.stage <= self._stage:
                for listener in child.sockets:
                    listener.close()
        for child in self._children:
            if child.stage == self._stage and child.channel is not None:
                child.channel.send({"do": "drain", "deadline": self._deadline})

    def _on_channel(self, child: Child) -> None:
        if child.channel is None:
            return
        messages = child.channel.receive()
        if messages is None:
            self._selector.unregister(child.channel)
            child.channel.end.close()
            child.channel = None
            return
        for message in messages:
            if message.get("ready"):
                child.is_ready = child.was_ready = True
                child.ready(message)
            if message.get("error"):
                log.error("%s: %s", child.name, message["error"])
            child.heard(message)
        if not self._announced and all(child.is_ready for child in self._children):
            self._announced = True
            self._all_ready()

    def _reap(self) -> None:
        for child in self._children:
            if not child.pid:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, code: int) -> None:
        child.pid = 0
        if child.channel is not None:
            self._selector.unregister(child.channel)
            child.channel.end.close()
            child.channel = None
        if child.is_ready:
            child.ended()
        child.is_ready = False
        child.gone()
        if self._stopping_since is not None:
            self._stop_next_stage()
            return
        if not child.was_ready:  # it never worked: starting it again would only hide why
            log.error("%s could not start", child.name)
            self._failed = True
            self._stop()
            return
        now = time.monotonic()
        child.deaths = [death for death in child.deaths if now - death < STEADY]
        child.start_at = now + RESTART_PAUSES[min(len(child.deaths), len(RESTART_PAUSES) - 1)]
        child.deaths.append(now)
        log.error("%s ended with %d; started again", child.name, code)

    def _kill_late(self) -> None:
        if self._stopping_since is None or self._killed:
            return
        if time.monotonic() > self._stopping_since + self._deadline + KILL_MARGIN:
            self._killed = True
            for child in self._children:
                if child.pid:
                    log.error("%s did not end in time and is killed", child.name)
                    os.kill(child.pid, signal.SIGKILL)
