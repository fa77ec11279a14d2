"""Runs a folder of Argo manifests against a server of its own and compares their ends with a table."""
