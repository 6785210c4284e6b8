"""One case against one server."""

from __future__ import annotations

import time

from conformance.cases import Case
from conformance.target import Announced, Options, Target
from conformance.verdicts import Result, Unsupported, Untested, Verdict


def run(case: Case, options: Options, announced: Announced) -> Result:
    """What came of it. Nothing that a server does makes this raise."""
    result = Result(case.id, case.title, case.requirements)
    target = Target(options, announced, result)
    began = time.monotonic()
    try:
        case.work(target)
    except Unsupported as reason:
        result.ended, result.reason = Verdict.UNSUPPORTED, str(reason)
    except Untested as reason:
        result.ended, result.reason = Verdict.UNTESTED, str(reason)
    except OSError as error:
        result.ended, result.reason = Verdict.UNTESTED, f"the server is not there (any more): {error}"
    except Exception as error:
        result.ended, result.reason = Verdict.ERROR, f"{type(error).__name__}: {error}"
    finally:
        target.wire.close()
        result.seconds = time.monotonic() - began
    return result
