"""The Data API, `/data/v1`: far stores, their objects, and the primary."""

from jitflow.data_api.routes import routes

__all__ = ["routes"]
