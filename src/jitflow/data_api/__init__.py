"""The data_api room."""
