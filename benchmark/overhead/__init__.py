"""What one step costs: a chain and a fan-out of steps that do nothing, here and in other tools, in the same run."""
