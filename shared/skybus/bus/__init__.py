"""What every skybus service knows: connection, endpoints, events, errors, messages and settings."""
