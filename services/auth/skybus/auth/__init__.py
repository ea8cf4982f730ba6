"""The auth service of skybus."""
