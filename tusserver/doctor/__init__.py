"""``tusserver doctor``: is this deployment sound? ``local`` looks at the stores, ``through`` at the way to clients."""
