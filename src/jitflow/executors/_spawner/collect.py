"""Collect a pod's outputs when its command has ended.

Paths are resolved in the pod's own root (a sandboxed pod's parent lives there), so no link that the pod planted reaches
a file of the host. Results are written through the working directory, which is the pod's `outputs/` on the host.
"""

import gzip
import os
import stat
import tarfile
import zipfile
from typing import IO

from .files import copy_file, remove
from .record import End, Output, Plan, PodError, Volume, describe

MAX_PARAMETER_BYTES = 1024 * 1024
_EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)


class Collector:
    """Collects into the working directory.

    Args:
        pod_fd: the pod's directory on the host.
        on_disk: where in it the files that the pod wrote below a directory of its root lie: these can be moved.
        base: what relative output paths are relative to.
        outputs_path: the host's name of the working directory.
    """

    def __init__(self, pod_fd: int, on_disk: dict[str, str], base: str, outputs_path: str) -> None:
        self._pod_fd = pod_fd
        self._on_disk = on_disk
        self._base = base
        self._outputs_path = outputs_path
        self._later: dict[str, list[tuple[str, str, os.stat_result]]] = {}

    def collect(self, outputs: list[Output], end: End) -> None:
        """Take every output; what fails is told in the end's errors, what is not there in its `missing`."""
        for output in outputs:
            path = os.path.join(self._base, output["path"])
            try:
                found = _look(path)
                if found is None:
                    end.missing.append(output["name"])
                elif output["kind"] == "parameter":
                    end.parameters[output["name"]] = _parameter(path, found)
                else:
                    end.artifacts.append(self._artifact(output, path, found))
            except PodError as error:
                remove(output["name"])
                end.errors.append(f"output {output['name']}: {error}")
            except (OSError, ValueError, tarfile.TarError) as error:
                remove(output["name"])  # half of an output is none, and the disk may be full
                end.errors.append(f"output {output['name']} ({output['path']}): {describe(error)}")
        self._take_files(end)

    def _artifact(self, output: Output, path: str, found: os.stat_result) -> dict[str, object]:
        name = output["name"]
        real = os.path.realpath(path)
        directory = stat.S_ISDIR(found.st_mode)
        as_it_is = output["archive"] == "none"
        if as_it_is and directory:
            size = self._take_tree(real, name, name)
        elif as_it_is:
            size = self._take_file(real, name, name, found)
        elif output["archive"] == "zip":
            size = _zip(path, real, name, output["compression_level"])
        else:
            size = _tar(path, real, name, output["compression_level"])
        return {
            "name": name,
            "source": os.path.join(self._outputs_path, name),
            "size_bytes": size,
            "is_directory": as_it_is and directory,
        }

    def _take_file(self, real: str, name: str, target: str, found: os.stat_result) -> int:
        """Note a file to be taken as it is when all else is collected: it may be moved, and others may refer to it."""
        if not stat.S_ISREG(found.st_mode):
            raise PodError(f"{real} is neither a file nor a directory")
        self._later.setdefault(real, []).append((name, target, found))
        return found.st_size

    def _take_files(self, end: End) -> None:
        """Copy or move the files noted; the last that wants a file may have it itself."""
        kept = {artifact["name"] for artifact in end.artifacts}
        for real, noted in self._later.items():
            takers = [taker for taker in noted if taker[0] in kept]
            for number, (name, target, found) in enumerate(takers, start=1):
                try:
                    if number < len(takers) or not self._move(real, target, found):
                        copy_file(real, target)
                    os.chmod(target, stat.S_IMODE(found.st_mode) & 0o777 | 0o600)
                except (PodError, OSError) as error:
                    end.errors.append(f"output {name} ({real}): {describe(error)}")

    def _move(self, real: str, target: str, found: os.stat_result) -> bool:
        """Move the file if it is a file of the pod's own layer that nothing else refers to."""
        top = max((path for path in self._on_disk if real.startswith(path + "/")), key=len, default=None)
        if top is None or found.st_nlink != 1:
            return False
        below = self._on_disk[top] + real[len(top) :]
        try:
            own = os.lstat(below, dir_fd=self._pod_fd)
            if (own.st_ino, own.st_size, own.st_mtime_ns) != (found.st_ino, found.st_size, found.st_mtime_ns):
                return False
            os.rename(below, f"outputs/{target}", src_dir_fd=self._pod_fd, dst_dir_fd=self._pod_fd)
        except OSError:
            return False
        return True

    def _take_tree(self, real: str, name: str, target: str) -> int:
        os.mkdir(target, 0o755)
        size = 0
        with os.scandir(real) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            place = os.path.join(target, entry.name)
            if entry.is_dir(follow_symlinks=False):
                size += self._take_tree(entry.path, name, place)
                continue
            status = _look(entry.path)
            if status is None or not stat.S_ISREG(status.st_mode):
                raise PodError(
                    f"{entry.path} is neither a file nor a directory (or a link to no file): archive the output as tar to keep it"
                )
            size += self._take_file(os.path.realpath(entry.path), name, place, status)
        return size


def check_volumes(volumes: list[Volume], plan: Plan, root: str, end: End) -> None:
    """Note each volume on disk that has outgrown its limit (`root` leads from here to the pod's directory)."""
    for volume in volumes:
        limit = volume["size_limit_bytes"]
        if limit is None or volume["source"] or not plan["directory"]:
            continue
        size = 0
        for folder, _, names in os.walk(os.path.join(root, "volumes", volume["name"])):
            size += sum(os.lstat(os.path.join(folder, name)).st_blocks * 512 for name in names)
        if size > limit:
            end.errors.append(f"volume {volume['name']} holds {size} bytes, more than its limit of {limit}")


def _look(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _open_regular(path: str) -> IO[bytes]:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise PodError(f"{path} is neither a file nor a directory")
    return open(fd, "rb")


def _parameter(path: str, found: os.stat_result) -> str:
    if stat.S_ISDIR(found.st_mode):
        raise PodError(f"{path} is a directory; a parameter is read from a file")
    with _open_regular(path) as file:
        text = file.read(MAX_PARAMETER_BYTES + 1)
    if len(text) > MAX_PARAMETER_BYTES:
        raise PodError(f"{path} is larger than a parameter may be (1 MiB); declare it as an artifact")
    return text.decode(errors="replace").removesuffix("\n")


def _name_of(path: str, real: str) -> str:
    return os.path.basename(path.rstrip("/")) or os.path.basename(real) or "root"


def _tar(path: str, real: str, target: str, level: int) -> int:
    with open(target, "wb") as raw:
        # No name and no time in the gzip header: the same content gives the same bytes.
        packed = gzip.GzipFile("", "wb", level, raw, mtime=0) if level > 0 else raw
        with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            _add(archive, real, _name_of(path, real))
        if packed is not raw:
            packed.close()
        return raw.tell()


def _add(archive: tarfile.TarFile, real: str, name: str) -> None:
    """Add a file or a tree; links stay links; sockets, pipes and devices are left out, as tar does."""
    member = archive.gettarinfo(real, name)
    if member is None or not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        if os.path.basename(real) == name:
            raise PodError(f"{real} is neither a file nor a directory")
        return
    if not member.isreg():
        archive.addfile(member)
    else:
        with _open_regular(real) as file:
            archive.addfile(member, file)
    if member.isdir():
        for entry in sorted(os.listdir(real)):
            _add(archive, f"{real}/{entry}", f"{name}/{entry}")


def _zip(path: str, real: str, target: str, level: int) -> int:
    name = _name_of(path, real)
    kind = zipfile.ZIP_DEFLATED if level > 0 else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w", kind, compresslevel=level or None, strict_timestamps=False) as archive:
        if not os.path.isdir(real):
            _zip_file(archive, real, name)
        for folder, folders, names in os.walk(real):
            folders.sort()
            below = name + folder[len(real) :]
            archive.writestr(zipfile.ZipInfo(below + "/", _EPOCH_OF_ZIP), b"")
            for entry in sorted(names):
                _zip_file(archive, f"{folder}/{entry}", f"{below}/{entry}")
    return os.path.getsize(target)


def _zip_file(archive: zipfile.ZipFile, real: str, name: str) -> None:
    if os.path.islink(real):
        info = zipfile.ZipInfo(name, _EPOCH_OF_ZIP)
        info.create_system = 3
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, os.readlink(real))
        return
    info = zipfile.ZipInfo.from_file(real, name, strict_timestamps=False)
    info.compress_type = archive.compression
    with _open_regular(real) as file, archive.open(info, "w", force_zip64=info.file_size > 1 << 30) as writer:
        while chunk := file.read(1 << 20):
            writer.write(chunk)
