"""The typed endpoints: one request and one reply model each, used by service, client, CLI and bridge alike."""
