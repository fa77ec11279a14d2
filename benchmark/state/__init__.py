"""What durable state costs: commits beside a bare loop on the same database, a start after a crash, bytes of a finished step."""
