"""Frozen values that every room shares: manifests, objects and replicas, pods, problems. No behaviour beyond reading."""
