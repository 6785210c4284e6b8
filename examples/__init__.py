"""Applications that embed tusserver."""
