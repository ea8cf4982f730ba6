"""The console service of skybus."""
