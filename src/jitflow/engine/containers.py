"""The containers of a template's pod: what each runs, with which mounts, before, beside or after which others."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from jitflow.engine.images import Images, command_of
from jitflow.expr.durations import DurationError, parse_duration
from jitflow.model import argo
from jitflow.model.pods import ContainerRole, Delivery, PodContainer, PodFile, PodImage, PodInput, PodVolume
from jitflow.model.problems import Refused

MAIN = "main"

SCRIPT_PATH = "/argo/staging/script"
"""Where Argo puts a script template's source."""

AnyContainer = argo.Container | argo.ScriptTemplate | argo.UserContainer | argo.ContainerNode


class Part(Struct, frozen=True, kw_only=True):
    """A container of a template. `mounts`: its own, the container set's, and main's if it mirrors them."""

    name: str
    role: ContainerRole
    source: AnyContainer
    image: PodImage
    mapped: bool
    command: tuple[str, ...]
    mounts: tuple[argo.VolumeMount, ...]
    has_data: bool
    """Whether the template's input artifacts are shown in it."""
    dependencies: tuple[str, ...] = ()
    retries: int = 0
    retry_delay_s: float = 0.0


def parts_of(template: argo.Template, images: Images) -> tuple[Part, ...]:
    """Return the containers of a template's pod: init containers, main ones, sidecars.

    Raises:
        Refused: it has no main container, an image's entrypoint is not known, or the retry strategy says nothing.
    """
    mains = _mains(template, images)
    main = next((part for part in mains if part.name == MAIN), mains[0])
    inits = [_beside(one, ContainerRole.INIT, main, images) for one in template.init_containers]
    sidecars = [_beside(one, ContainerRole.SIDECAR, main, images) for one in template.sidecars]
    return (*inits, *mains, *sidecars)


def _mains(template: argo.Template, images: Images) -> list[Part]:
    group = template.container_set
    if group is not None and group.containers:
        retries, delay_s = _retries(template, group.retry_strategy)
        return [
            _part(
                one,
                one.name,
                ContainerRole.MAIN,
                images,
                (*one.volume_mounts, *group.volume_mounts),
                dependencies=one.dependencies,
                retries=retries,
                retry_delay_s=delay_s,
            )
            for one in group.containers
        ]
    main = template.container or template.script
    if main is None or not main.image:
        raise Refused(f"template {template.name!r} names no image; write `image:`")
    # As in Argo, a script without a source is a container.
    more = (SCRIPT_PATH,) if template.script is not None and template.script.source else ()
    return [_part(main, MAIN, ContainerRole.MAIN, images, main.volume_mounts, more_args=more)]


def _retries(template: argo.Template, strategy: argo.ContainerSetRetryStrategy | None) -> tuple[int, float]:
    if strategy is None:
        return 0, 0.0
    try:
        return int(strategy.retries), float(parse_duration(strategy.duration)) if strategy.duration else 0.0
    except (ValueError, DurationError) as error:
        raise Refused(f"containerSet.retryStrategy of template {template.name!r}: {error}") from error


def _beside(source: argo.UserContainer, role: ContainerRole, main: Part, images: Images) -> Part:
    mirrored = tuple(
        mount for mount in main.mounts if source.mirror_volume_mounts and mount.mount_path not in _paths(source.volume_mounts)
    )
    return _part(
        source, source.name, role, images, (*source.volume_mounts, *mirrored), has_data=bool(source.mirror_volume_mounts)
    )


def _paths(mounts: Sequence[argo.VolumeMount]) -> set[str | None]:
    return {mount.mount_path for mount in mounts}


def _part(
    source: AnyContainer,
    name: str,
    role: ContainerRole,
    images: Images,
    mounts: tuple[argo.VolumeMount, ...],
    *,
    more_args: tuple[str, ...] = (),
    has_data: bool = True,
    dependencies: tuple[str, ...] = (),
    retries: int = 0,
    retry_delay_s: float = 0.0,
) -> Part:
    if not source.image:
        raise Refused(f"the container {name!r} names no image; write `image:`")
    image, mapped = images.find(source.image)
    return Part(
        name=name,
        role=role,
        source=source,
        image=image,
        mapped=mapped,
        command=command_of(image, mapped, source.command, (*source.args, *more_args)),
        mounts=mounts,
        has_data=has_data,
        dependencies=dependencies,
        retries=retries,
        retry_delay_s=retry_delay_s,
    )


def with_shared_data(containers: Sequence[PodContainer], first: PodImage) -> tuple[PodContainer, ...]:
    """Return containers of which none places data in a volume: an init container called `init` does it before them, as in Argo.

    So it is placed once, and all containers that mount the volume see it.
    """
    inputs: dict[str, PodInput] = {}
    files: dict[str, PodFile] = {}
    volumes: dict[str, PodVolume] = {}
    changed: list[PodContainer] = []
    for one in containers:
        shared = [volume for volume in one.volumes if not volume.read_only]
        moved = [item for item in one.inputs if _volume_of(item.path, shared)]
        # A secret is mounted in each container itself: in the volume it would lie on disk.
        made = [file for file in one.files if not file.secret and _volume_of(file.path, shared)]
        for item in moved:
            delivery = Delivery.COPY if item.delivery is Delivery.BIND else item.delivery
            inputs[item.path] = replace(item, delivery=delivery)
        files.update({file.path: file for file in made})
        for path in [*(item.path for item in moved), *(file.path for file in made)]:
            volume = _volume_of(path, shared)
            assert volume is not None, "only such paths were taken"
            volumes[volume.path] = volume
        if moved or made:
            one = replace(  # noqa: PLW2901 - the container without what is placed before it starts
                one,
                inputs=tuple(item for item in one.inputs if item not in moved),
                files=tuple(file for file in one.files if file not in made),
            )
        changed.append(one)
    if not inputs and not files:
        return tuple(changed)
    placing = PodContainer(
        name="init",
        role=ContainerRole.INIT,
        image=first,
        command=(),
        inputs=tuple(inputs.values()),
        files=tuple(files.values()),
        volumes=tuple(volumes.values()),
    )
    return (placing, *changed)


def _volume_of(path: str, volumes: Sequence[PodVolume]) -> PodVolume | None:
    return next((volume for volume in volumes if f"{path.rstrip('/')}/".startswith(f"{volume.path.rstrip('/')}/")), None)
