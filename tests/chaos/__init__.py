"""Servers, proxies and databases that fail at random under real clients, and what must never happen all the same."""
