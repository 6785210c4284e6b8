"""What goes wrong: servers killed, restarted and paused, the primary killed and stepped down."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tests.chaos.deployment import Deployment
from tests.e2e.server import ServerProcess

LONGER_THAN_A_LEASE = 4.0


@dataclass
class Plan:
    """How many faults of servers, and how many fail-overs; ``pause``: the mean seconds between two of them."""

    pod_faults: int
    failovers: int
    pause: float


@dataclass
class Chaos:
    """Carries a plan out, one fault after the other for each server and for the database, so that they coincide.
    ``say`` is told of each."""

    deployment: Deployment
    plan: Plan
    seed: int
    say: Callable[[str], None]
    done: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    _begun: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self) -> None:
        """Begin, beside whatever else goes on."""
        work: list[Callable[[], None]] = [partial(self._pod_faults, pod) for pod in self.deployment.pods]
        if self.deployment.mongodb is not None and self.plan.failovers:
            work.append(self._failovers)
        self._threads = [threading.Thread(target=self._guarded, args=(each,)) for each in work]
        for thread in self._threads:
            thread.start()

    @property
    def going_on(self) -> bool:
        """Whether faults are still to come."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Wait for the last one."""
        for thread in self._threads:
            thread.join()

    @property
    def pod_faults(self) -> int:
        return sum(self.done[kind] for kind in ("killed", "restarted", "paused"))

    @property
    def failovers(self) -> int:
        return self.done["primary killed"] + self.done["stepped down"]

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.broken.append(f"a fault could not be carried out: {error!r}")

    def _pod_faults(self, pod: ServerProcess) -> None:
        dice = random.Random(f"{self.seed} {pod.name}")
        while self._wanted():
            time.sleep(dice.expovariate(1 / self.plan.pause))
            fault = dice.choice([self._kill, self._restart, self._pause])
            fault(pod, dice)

    def _wanted(self) -> bool:
        """Whether one more fault of a server is still to come; it is then somebody's."""
        with self._lock:
            self._begun += 1
            return self._begun <= self.plan.pod_faults

    def _kill(self, pod: ServerProcess, dice: random.Random) -> None:
        pod.kill()
        self._note("killed", pod)
        time.sleep(dice.uniform(0, 1))
        pod.start()

    def _restart(self, pod: ServerProcess, dice: random.Random) -> None:
        pod.terminate(seconds=30)
        self._note("restarted", pod)
        pod.start()

    def _pause(self, pod: ServerProcess, dice: random.Random) -> None:
        assert pod.process is not None
        pod.process.send_signal(signal.SIGSTOP)
        self._note("paused", pod)
        time.sleep(dice.uniform(0.5, LONGER_THAN_A_LEASE + 1))
        pod.process.send_signal(signal.SIGCONT)

    def _failovers(self) -> None:
        dice = random.Random(f"{self.seed} primary")
        mongodb = self.deployment.mongodb
        assert mongodb is not None
        while self.failovers < self.plan.failovers:
            time.sleep(dice.expovariate(1 / (self.plan.pause * 4)))
            if dice.random() < 0.5:
                node = mongodb.kill_primary()
                self._note("primary killed", node)
                mongodb.primary()
                node.start()
            else:
                self._note("stepped down", mongodb.step_down())
                mongodb.primary()

    def _note(self, kind: str, what: object) -> None:
        with self._lock:
            self.done[kind] += 1
        self.say(f"{kind}: {getattr(what, 'port', '')}")


def outage(deployment: Deployment, seconds: float) -> None:
    """MongoDB is away as a whole for so long, and comes back with its data."""
    mongodb = deployment.mongodb
    assert mongodb is not None
    for node in mongodb.nodes:
        node.kill()
    time.sleep(seconds)
    for node in mongodb.nodes:
        node.start()
    mongodb.primary()
