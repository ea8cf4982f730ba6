"""`skybus up`: embedded servers and supervision of the services on one machine."""
