"""The settings: one typed tree, read once from a TOML file and the environment, passed down in slices."""

from jitflow.settings._file import SettingsFile
from jitflow.settings._load import FLAGS, config_home, load, resolve_secret
from jitflow.settings._private import replace_private
from jitflow.settings._sealed import seal, unseal
from jitflow.settings._shown import Shown, shown
from jitflow.settings._tree import (
    ArtifactPluginSettings,
    AuditSettings,
    EventSettings,
    ForeignSettings,
    ImageSettings,
    OidcRoleSettings,
    OidcSettings,
    PrimarySettings,
    RcloneServerSettings,
    RcloneSettings,
    RemoteSettings,
    RepositorySettings,
    RetentionSettings,
    ServerSettings,
    Settings,
    SettingsError,
    StateSettings,
    TelemetrySettings,
    WebhookSettings,
    parse_bytes,
    parse_span_s,
)

__all__ = [
    "FLAGS",
    "ArtifactPluginSettings",
    "AuditSettings",
    "EventSettings",
    "ForeignSettings",
    "ImageSettings",
    "OidcRoleSettings",
    "OidcSettings",
    "PrimarySettings",
    "RcloneServerSettings",
    "RcloneSettings",
    "RemoteSettings",
    "RepositorySettings",
    "RetentionSettings",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "SettingsFile",
    "Shown",
    "StateSettings",
    "TelemetrySettings",
    "WebhookSettings",
    "config_home",
    "load",
    "parse_bytes",
    "parse_span_s",
    "replace_private",
    "resolve_secret",
    "seal",
    "shown",
    "unseal",
]
