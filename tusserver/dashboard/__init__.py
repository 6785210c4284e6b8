"""The dashboard: what is going on now, for people, in a browser. It only reads, until somebody presses a button."""
