"""Far stores through a supervised rclone: `RcloneStorage` implements the Storage port."""

from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig, Tuning

__all__ = ["RcloneDaemon", "RcloneStorage", "RemoteConfig", "Tuning"]
