"""The worker service of skybus."""
