"""Where the service keeps its state: SQLite behind one writer thread, PostgreSQL, or MongoDB, chosen by a URL."""

from jitflow.stores._flaws import BACKUP, REPAIR
from jitflow.stores._urls import is_file, shown, url_of
from jitflow.stores.chosen import open_servers, open_store
from jitflow.stores.lease import Lease
from jitflow.stores.patient import PatientStore
from jitflow.stores.sqlite import SqliteStore

__all__ = [
    "BACKUP",
    "REPAIR",
    "Lease",
    "PatientStore",
    "SqliteStore",
    "is_file",
    "open_servers",
    "open_store",
    "shown",
    "url_of",
]
