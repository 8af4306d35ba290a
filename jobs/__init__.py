"""What may run: the configuration file and its mirror in the database."""
