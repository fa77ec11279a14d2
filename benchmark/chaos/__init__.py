"""Real workflows while processes are killed, links cut, disks filled and replicas spoiled; then a look at what came of it."""
