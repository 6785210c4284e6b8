"""A tus server: resumable uploads over HTTP.

    protocol    what tus says: uploads as values, rules, headers; pure, standard library only
    stores      where sessions and bytes are kept, as contracts and as backends
    leases      one writer per upload, across processes          sweeper    expire, erase, forget
    engine      carries out commands (with body, intake, receiver, assembly, hooks, metrics)
    endpoints   HTTP to engine and back (with origin, cors, downloads)
    admin       what operators see and do, as JSON                   dashboard   the same live, in a browser
    app         ``create_app``: wiring, no logic
    server      uvicorn, with uploads saved at shutdown          cli        the command ``tusserver``
    settings    the one definition of every setting (written as units says)        logs    how logs look

Use ``create_app(Settings(...), Hooks(...))`` to serve uploads from an application of your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tusserver.app import create_app
    from tusserver.hooks import Hooks
    from tusserver.settings import Settings

__version__ = "0.1.0"
__all__ = ["Hooks", "Settings", "__version__", "create_app"]


def __getattr__(name: str) -> Any:
    """What is exported, imported when it is asked for: ``tusserver.protocol`` alone needs nothing else."""
    match name:
        case "create_app":
            from tusserver.app import create_app

            return create_app
        case "Hooks":
            from tusserver.hooks import Hooks

            return Hooks
        case "Settings":
            from tusserver.settings import Settings

            return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
