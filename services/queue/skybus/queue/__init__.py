"""The queue service of skybus."""
