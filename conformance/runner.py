"""One case against one server."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

from conformance.cases import Case
from conformance.target import Announced, Options, Target
from conformance.verdicts import Result, Unsupported, Untested, Verdict
from conformance.wire import port_of

TRIES = 3
NOBODY = "nobody listens at the server's address"
GONE = "the server was gone afterwards: nobody listened where it had"


class Presence:
    """Whether somebody listens at the server's address. Who was waited for in vain once is not waited for again."""

    def __init__(self, options: Options) -> None:
        where = urlsplit(options.url)
        self._address = (str(where.hostname), port_of(where))
        self._patience = options.patience
        self._lost = False

    def there(self) -> bool:
        """Right now."""
        try:
            socket.create_connection(self._address, timeout=self._patience).close()
        except OSError:
            return False
        return True

    def comes(self) -> bool:
        """Now or within the patience, as a server does that is restarted when it dies."""
        deadline = time.monotonic() + self._patience
        while not self._lost:
            if self.there():
                return True
            self._lost = time.monotonic() > deadline
            time.sleep(0.05)
        return False


def run(case: Case, options: Options, announced: Announced, presence: Presence) -> Result:
    """What came of it. Nothing that a server does makes this raise. A case in which the server vanished is tried again
    if it comes back, since a server may die late, of what an earlier case did."""
    began = time.monotonic()
    for _ in range(TRIES):
        result = Result(case.id, case.title, case.requirements)
        if not presence.comes():
            result.ended, result.reason = Verdict.UNTESTED, NOBODY
            break
        _work(case, options, announced, result)
        if not presence.there():
            result.reason = "; ".join(filter(None, (result.reason, GONE)))
        if not any(each.vanished for each in result.exchanges):
            break
    result.seconds = time.monotonic() - began
    return result


def _work(case: Case, options: Options, announced: Announced, result: Result) -> None:
    target = Target(options, announced, result)
    try:
        case.work(target)
    except Unsupported as reason:
        result.ended, result.reason = Verdict.UNSUPPORTED, str(reason)
    except Untested as reason:
        result.ended, result.reason = Verdict.UNTESTED, str(reason)
    except OSError as error:
        result.ended, result.reason = Verdict.UNTESTED, f"no connection: {error}"
    except Exception as error:
        result.ended, result.reason = Verdict.ERROR, f"{type(error).__name__}: {error}"
    finally:
        target.wire.close()
