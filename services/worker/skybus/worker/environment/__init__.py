"""The process that holds the startup code and runs the plans."""
