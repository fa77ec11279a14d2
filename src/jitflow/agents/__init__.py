"""Adapters that do the work of templates that need no pod: requests over HTTP, plugins, listings, jitflow's own objects."""

from jitflow.agents.data import DataAgent
from jitflow.agents.hosts import HostRules
from jitflow.agents.http import HttpAgent
from jitflow.agents.plugins import Plugin, PluginAgent
from jitflow.agents.resources import ResourceAgent
from jitflow.agents.webhooks import WebhookSender

__all__ = ["DataAgent", "HostRules", "HttpAgent", "Plugin", "PluginAgent", "ResourceAgent", "WebhookSender"]
