"""The control_api room."""
