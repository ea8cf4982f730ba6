"""What `skybus re-manager` takes: the options, variables and configuration files of `start-re-manager` 0.0.25."""
