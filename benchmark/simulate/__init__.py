"""Deterministic simulation: real engine, real data plane, a simulated world, everything from one seed."""
