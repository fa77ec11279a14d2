"""The planner against a clairvoyant bound, over recorded workflows."""
