"""The Data API, `/data/v1`: far stores, their objects, and the primary."""

from jitflow.data_api.link import link_routes
from jitflow.data_api.routes import routes

__all__ = ["link_routes", "routes"]
