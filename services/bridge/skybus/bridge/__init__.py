"""The bridge service of skybus."""
