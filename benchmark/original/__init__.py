"""The original system's end-to-end benchmark: one step for each file of a set, real stores, real links, real steps."""
