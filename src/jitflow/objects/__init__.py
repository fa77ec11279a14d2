"""The objects that jitflow keeps beside runs: templates, schedules, ConfigMaps, Secrets, claims."""

from jitflow.model.merge import merge_patch, strategic_merge
from jitflow.objects.memos import MemoStore
from jitflow.objects.store import Change, ObjectStore, Sealer, secret_values, without_values

__all__ = ["Change", "MemoStore", "ObjectStore", "Sealer", "merge_patch", "secret_values", "strategic_merge", "without_values"]
