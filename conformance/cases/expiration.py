"""Expiration."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime

from conformance.cases import case
from conformance.target import Target
from conformance.verdicts import Unsupported, Untested

DATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} "
    r"[0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
)
LONGEST = 5.0
"""Seconds that the suite waits for an upload to expire; where it takes longer, that is not tried."""


@case("expiration/header", "EXP-02", "EXP-04", "EXP-05", "EXP-06", "EXP-10")
def header(tus: Target) -> None:
    """Uploads that will expire say when."""
    tus.needs("expiration")
    named = tus.named()
    tus.check("EXP-02", "expiration" in named, "expiration in Tus-Extension", named)
    created = tus.post(("Upload-Length", "10"))
    url = tus.location(created)
    first = created.get("Upload-Expires")
    if url is None:
        raise Untested(f"an upload could not be created: POST says {created.status}")
    known = tus.head(url).get("Upload-Expires")
    later = tus.patch(url, 0, b"01234").get("Upload-Expires")
    if not (first or known or later):
        raise Unsupported("no answer says that an upload expires; have the server let uploads expire to test that")
    tus.check("EXP-05", first is not None, "Upload-Expires on the 201", first, advice=known is None)
    tus.check("EXP-04", later is not None, "Upload-Expires on the PATCH of an unfinished upload", later)
    tus.check("EXP-06", later != first, "another time after a PATCH", later)
    for value in (first, later):
        if value is not None:
            well = DATE.fullmatch(value) is not None
            tus.check("EXP-10", well, "a date as HTTP writes it", value)
            if well:
                ahead = parsedate_to_datetime(value).timestamp() - time.time()
                tus.check("EXP-10", ahead > -2, "a time that is still to come", value)


@case("expiration/gone", "EXP-07", "EXP-08")
def gone(tus: Target) -> None:
    """An upload that has expired is gone."""
    tus.needs("expiration")
    created = tus.post(("Upload-Length", "10"))
    url, value = tus.location(created), created.get("Upload-Expires") or ""
    if url is None or DATE.fullmatch(value) is None:
        raise Unsupported("the server does not say when it would expire")
    left = parsedate_to_datetime(value).timestamp() - time.time()
    if left > LONGEST:
        raise Unsupported(f"it would take {left:.0f} s; let uploads expire within {LONGEST:.0f} s to have this tried")
    time.sleep(max(0.0, left) + 1.2)
    for answer in (tus.head(url), tus.patch(url, 0, b"01234")):
        tus.check("EXP-07", answer.status in (404, 410), "404 or 410", answer.status)
        tus.check("EXP-08", answer.status == 410, "410, as long as the server knows", answer.status)
