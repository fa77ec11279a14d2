"""The demonstration behind `make demo`: one workflow, far data, a small near store; on demand, then just in time."""
