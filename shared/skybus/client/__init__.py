"""The client that people, agents and the command line import."""
