"""Manifests: text to values, validation before anything runs, and what this version can do."""

from jitflow.spec import announcements, support
from jitflow.spec.documents import API_VERSION, KINDS, Document, Manifest, from_json, load, load_one
from jitflow.spec.places import Path, Places, json_path, parse_path
from jitflow.spec.validation import deciding_parameters, validate, validate_document, validate_together

__all__ = [
    "API_VERSION", "KINDS", "Document", "Manifest", "Path", "Places", "announcements", "deciding_parameters", "from_json",
    "json_path", "load", "load_one", "parse_path", "support", "validate", "validate_document", "validate_together",
]  # fmt: skip
