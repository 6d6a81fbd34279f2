"""The parent of all processes: it starts them, starts them again, passes on what signals mean, and ends them.

Each supervisor runs in a process of its own, as in life: it takes over the signal handlers.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from edgeproxy import supervisor
from edgeproxy.supervisor import Channel, Child, Message, Supervisor

PATIENCE = 20.0


class Story:
    """What the processes of a test said, line by line, over a pipe they all inherit."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._rest = b""
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        os.write(self._write, line.encode() + b"\n")

    def hears(self, start: str, times: int = 1) -> str:
        """Wait until lines that start so were said so often; the rest of the last one."""
        end = time.monotonic() + PATIENCE
        while len(found := [line for line in self.lines if line.startswith(start)]) < times:
            ready, _, _ = select.select([self._read], [], [], max(0, end - time.monotonic()))
            assert ready, f"no {start!r} in {self.lines}"
            *whole, self._rest = (self._rest + os.read(self._read, 4096)).split(b"\n")
            self.lines += [each.decode() for each in whole]
        return found[-1].removeprefix(start).strip()

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


@pytest.fixture
def story() -> Iterator[Story]:
    made = Story()
    yield made
    made.close()


@contextmanager
def supervised(make: Callable[[], Supervisor]) -> Iterator[Callable[[signal.Signals | None], int]]:
    """A supervisor in a process of its own: what is yielded signals it, or with None waits for its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = make().run()
        finally:
            os._exit(code)
    ended = False

    def tell(number: signal.Signals | None) -> int:
        nonlocal ended
        if number is not None:
            os.kill(pid, number)
            return 0
        ended = True
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    try:
        yield tell
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def obedient(story: Story, name: str = "child") -> Callable[[Channel], int]:
    """A child that says what it is told, until it is told to drain or its parent is gone."""

    def run(channel: Channel) -> int:
        channel.send({"ready": True})
        story.tell(f"{name} runs")
        while True:
            select.select([channel], [], [])
            messages = channel.receive()
            if messages is None:
                story.tell(f"{name} is alone")
                return 0
            for message in messages:
                story.tell(f"{name} {message['do']}")
                if message["do"] == "drain":
                    return 0

    return run


def test_it_starts_all_says_so_once_and_ends_with_0(story: Story) -> None:
    def make() -> Supervisor:
        children = [Child(name, obedient(story, name)) for name in ("a", "b")]
        return Supervisor(children, deadline=5, all_ready=lambda: story.tell("all ready"))

    with supervised(make) as tell:
        story.hears("all ready")
        tell(signal.SIGTERM)
        assert tell(None) == 0
        story.hears("a drain")
        story.hears("b drain")
    assert story.lines.count("all ready") == 1


def test_one_that_dies_is_started_again_and_the_hooks_tell_of_it(story: Story) -> None:
    def dies_once(channel: Channel) -> int:
        channel.send({"ready": True})
        story.tell("runs")
        select.select([channel], [], [])
        return 0 if channel.receive() else 1

    def make() -> Supervisor:
        child = Child(
            "child",
            dies_once,
            started=lambda: story.tell("started"),
            ready=lambda message: story.tell(f"ready {child.pid}"),
            ended=lambda: story.tell("ended"),
        )
        return Supervisor([child], deadline=5)

    with supervised(make) as tell:
        story.hears("runs")
        os.kill(int(story.hears("ready")), signal.SIGKILL)
        story.hears("ended")
        story.hears("runs", 2)
        tell(signal.SIGINT)
        assert tell(None) == 0
    assert story.lines.count("started") == 2


def test_one_that_cannot_start_ends_everything_with_1(story: Story) -> None:
    def make() -> Supervisor:
        return Supervisor([Child("good", obedient(story)), Child("bad", lambda channel: 3)], deadline=5)

    with supervised(make) as tell:
        assert tell(None) == 1


def test_signals_reach_the_children_as_words(story: Story) -> None:
    answers: Iterator[Message | None] = iter([{"do": "reload"}, None])

    def make() -> Supervisor:
        return Supervisor([Child("child", obedient(story))], deadline=5, reload=lambda: next(answers))

    with supervised(make) as tell:
        story.hears("child runs")
        tell(signal.SIGUSR1)
        story.hears("child reopen")
        tell(signal.SIGHUP)
        story.hears("child reload")
        tell(signal.SIGHUP)  # refused: nobody is told
        tell(signal.SIGUSR1)
        story.hears("child reopen", 2)
        tell(signal.SIGTERM)
        assert tell(None) == 0
    assert story.lines.count("child reload") == 1


def test_signals_meant_for_the_whole_group_do_not_end_the_children(story: Story) -> None:
    def make() -> Supervisor:
        child = Child("child", obedient(story), ready=lambda message: story.tell(f"pid {child.pid}"))
        return Supervisor([child], deadline=5)

    with supervised(make) as tell:
        story.hears("child runs")
        pid = int(story.hears("pid"))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            os.kill(pid, number)
        tell(signal.SIGUSR1)
        story.hears("child reopen")
        tell(signal.SIGTERM)
        assert tell(None) == 0


def test_a_child_that_does_not_drain_is_killed_by_the_second_signal(story: Story) -> None:
    def stubborn(channel: Channel) -> int:
        channel.send({"ready": True})
        story.tell("runs")
        while True:
            signal.pause()

    with supervised(lambda: Supervisor([Child("child", stubborn)], deadline=600)) as tell:
        story.hears("runs")
        tell(signal.SIGTERM)
        tell(signal.SIGINT)
        assert tell(None) == 0


def test_children_hear_of_a_parent_that_is_gone(story: Story) -> None:
    with supervised(lambda: Supervisor([Child("child", obedient(story))], deadline=5)) as tell:
        story.hears("child runs")
        tell(signal.SIGKILL)
        story.hears("child is alone")


def test_a_drained_node_refuses_connections_although_others_inherited_its_socket(story: Story) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()

    def lingers(channel: Channel) -> int:
        channel.send({"ready": True})
        story.tell("lingers")
        select.select([channel], [], [])
        channel.receive()
        listener.close()
        with socket.socket() as probe:
            story.tell("refused" if probe.connect_ex(address) else "accepted")
        return 0

    def make() -> Supervisor:
        return Supervisor(
            [Child("one", lingers, sockets=[listener]), Child("two", obedient(story, "two"))],
            deadline=5,
            all_ready=lambda: story.tell("all ready"),
        )

    with supervised(make) as tell:
        listener.close()
        story.hears("all ready")
        tell(signal.SIGTERM)
        assert tell(None) == 0
        story.hears("refused")


def test_messages_survive_being_split_and_joined() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    assert channel.receive() == []
    theirs.sendall(b'{"a": 1}\n{"b"')
    assert channel.receive() == [{"a": 1}]
    theirs.sendall(b": 2}\n")
    assert channel.receive() == [{"b": 2}]
    theirs.close()
    assert channel.receive() is None
    channel.send({"to": "nobody"})
    ours.close()


def test_one_that_cannot_be_started_again_for_want_of_descriptors_is_tried_later(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FORK_PAUSE", 0.01)
    starts = 0

    def started() -> None:
        nonlocal starts
        starts += 1
        if starts == 4:  # the first, and three times again
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def make() -> Supervisor:
        child = Child(
            "child",
            obedient(story),
            started=started,
            ready=lambda message: story.tell(f"ready {child.pid}"),
            ended=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1])),
        )
        return Supervisor([child], deadline=5)

    with supervised(make) as tell:
        os.kill(int(story.hears("ready")), signal.SIGKILL)
        story.hears("ready", 2)
        tell(signal.SIGTERM)
        assert tell(None) == 0


def test_a_process_that_takes_no_messages_is_cut_off_and_never_waited_for_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "SEND_PATIENCE", 0.01)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        parent, child = Channel(ours), Channel(theirs)
        parent.send({"do": "x" * 10_000_000})
        assert parent.receive() is None
        while child.receive():
            pass
        assert child.receive() is None
        parent.send({"do": "drain"})
