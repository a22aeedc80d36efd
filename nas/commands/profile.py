"""`nas profile`: measures this device for a space, and prints how well the resulting model predicts whole networks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas import machine
from nas.config import Config, ProfileConfig
from nas.latency.making import make_profile
from nas.latency.making.adding import add_units
from nas.latency.making.plan import ALL, CALIBRATION, HELD_OUT, Plan
from nas.latency.profiles import differences_here
from nas.latency.unit_tables import is_unit_table, write_unit_list
from nas.log import say
from nas.plugins import import_plugins
from nas.runs.weights import read_architecture
from nas.runtimes import Setting, make_runtime
from search_spaces.architecture import Architecture
from search_spaces.checking import check_parts
from search_spaces.costs.latency import LATENCY, DeviceModel
from search_spaces.costs.profile_files import read_model
from search_spaces.errors import InputError
from search_spaces.named import load_space
from search_spaces.registry import complete
from search_spaces.space import SearchSpace
from search_spaces.textfiles import expanded


def profile(config: Config) -> DeviceModel | None:
    """Writes a profile of this device, or adds units to one, and prints its errors; or lists what is to be measured on another device.

    An interrupted profile resumes.

    Raises:
        NoisyMachine: something disturbs the machine, and `noisy` is false.
        InputError: the space, the runtime, the device or a file cannot be used.
    """
    settings = config.profile
    _check_options(settings)
    import_plugins(config)
    if settings.list:
        return _list(config)
    if settings.profile:
        return _add(config)
    if not settings.out:
        raise InputError("profile.out is empty", "the path of a file", "nas profile space=images32 out=laptop.json")
    out = expanded(settings.out)
    if out.exists():
        return _there(config, out)
    space = _space(config)
    networks = tuple(_architecture(name, space) for name in settings.networks)
    plan = Plan(
        device=settings.name or _name_of(out),
        space=space,
        setting=_setting(config),
        calibration=settings.calibration,
        held_out=settings.heldout,
        which=settings.units,
        networks=networks,
        error=settings.error,
        seconds=settings.seconds or None,
        noisy=settings.noisy,
        seed=config.seed,
    )
    model = make_profile(plan, out)
    for line in report(model):
        say(line)
    say(f"wrote {settings.out}: search.profiles={settings.out} makes {model.name} a cost, and {LATENCY} on this device")
    return model


def _check_options(asked: ProfileConfig) -> None:
    """
    Raises:
        InputError: options that contradict each other, or a file that would be read as something else.
    """
    given = [name for name in ("out", "list", "profile") if getattr(asked, name)]
    if len(given) > 1:
        raise InputError(
            f"{' and '.join(f'profile.{name}' for name in given)} are given together",
            "out for a new profile, profile for one that gets more units, or list for a table to fill in",
            f"{given[-1]}={getattr(asked, given[-1])} alone",
        )
    if asked.missing and not asked.profile:
        raise InputError(
            "profile.missing is given without a profile",
            "the profile that gets the units of these networks; networks=FILE measures whole networks for a new one",
            f"profile=FILE.json missing={','.join(asked.missing)}",
        )
    if asked.networks and not asked.out:
        raise InputError(
            "profile.networks is given without out",
            "networks that are measured whole for a new profile; missing=FILE adds the units of networks to a profile",
            f"out=FILE.json networks={','.join(asked.networks)}"
            if not asked.profile
            else f"profile={asked.profile} missing={','.join(asked.networks)}",
        )
    if is_unit_table(asked.out):
        raise InputError(
            f"profile.out is {asked.out}, and a .csv file is read as a table of units",
            "a file of another kind: a profile is JSON",
            f"out={Path(asked.out).with_suffix('.json')}, or list={asked.out} for a table to fill in",
        )


def _list(config: Config) -> None:
    """Writes the units of the space, to be measured on another device."""
    settings = config.profile
    device = settings.name or "phone"
    count = write_unit_list(_space(config), settings.list, device)
    say(f"wrote {settings.list}: {count:,} units, whose times on the device belong in the column {LATENCY}@{device}")
    say(
        f"search.profiles={settings.list} then makes {LATENCY}@{device} a cost; with search.fill=true also where some are not measured"
    )


def _setting(config: Config) -> Setting:
    threads = config.threads or machine.cores()
    device = machine.prepare(threads, config.device)
    setting = Setting(runtime=config.profile.runtime, device=str(device), threads=threads, batch=config.profile.batch)
    return make_runtime(setting.runtime).settled(setting)


def _space(config: Config) -> SearchSpace:
    """The space, bound to the sizes that are asked for, with every part tried."""
    space, asked = load_space(config.space), config.profile
    bound = space.bind(
        asked.channels or space.in_channels, asked.classes or space.num_classes, asked.resolution or space.resolution
    )
    check_parts(bound)
    return bound


def _architecture(name: str, space: SearchSpace | None = None) -> Architecture:
    path = expanded(name)
    if not path.is_file():
        raise InputError(f"{name} is no file", "arch.json files", "FOLDER/arch.json")
    arch = complete(read_architecture(path))
    if space is not None and (arch.in_channels, arch.resolution) != (space.in_channels, space.resolution):
        raise InputError(
            f"{name} takes images of {arch.in_channels} channels and {arch.resolution} pixels, and the profile is for "
            f"{space.in_channels} and {space.resolution}",
            "networks for the images of the profile",
            f"channels={arch.in_channels} resolution={arch.resolution}",
        )
    return arch


def _name_of(out: Path) -> str:
    """The name of the device that the name of the file gives.

    Raises:
        InputError: it gives none.
    """
    name = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "-" for c in out.stem.lower()).strip("._-")
    if not name:
        raise InputError(f"file {out.name} gives the device no name", "a name in letters and digits", "name=laptop")
    return name


def _there(config: Config, out: Path) -> DeviceModel:
    """The profile that there is already, if it is the one that is asked for.

    Raises:
        InputError: it is another one.
    """
    model, asked = read_model(out), config.profile
    if differing := _differing(config, model):
        raise InputError(
            f"{asked.out} is already a profile, and not the one that is asked for: {'; '.join(differing)}",
            "a new file",
            f"out={out.with_stem(out.stem + '-2')}, or rm {asked.out}",
        )
    for line in report(model):
        say(line)
    say(f"{asked.out} was there and is left as it was; remove it to measure again")
    return model


def _differing(config: Config, model: DeviceModel) -> list[str]:
    """How a profile differs from the one that is asked for, in words."""
    asked, about, space = config.profile, model.about, _space(config)
    setting, was = _setting(config).to_dict(), about["setting"]
    roles = [line["role"] for line in about["networks"]]
    digests = {line["digest"] for line in about["networks"]}
    lacking = sum(_architecture(name, space).digest not in digests for name in asked.networks)
    pairs = [
        ("device", model.device, asked.name or _name_of(expanded(asked.out))),
        ("space", about["space"].get("name"), space.name),
        *((key, was.get(key), value) for key, value in setting.items()),
        ("units", about["space"].get("measured", ALL), asked.units),
        ("calibration", roles.count(CALIBRATION), asked.calibration),
        ("heldout", roles.count(HELD_OUT), asked.heldout),
    ]
    found = [f"its {name} is {has} and not {wanted}" for name, has, wanted in pairs if has != wanted]
    if about["space"].get("digest") != space.digest and about["space"].get("name") == space.name:
        found.append(f"it is of another space {space.name}, or of images of another size")
    if lacking:
        found.append(f"it lacks {lacking} of the {len(asked.networks)} networks")
    return found or differences_here(model)


def _add(config: Config) -> DeviceModel:
    """Adds the units of some networks to a profile.

    Raises:
        InputError: no networks are given, or the profile is of another device.
    """
    settings = config.profile
    if not settings.missing:
        raise InputError(
            f"profile.profile={settings.profile} without networks",
            "arch.json files of networks whose units are added",
            f"nas profile profile={settings.profile} missing=FOLDER/arch.json",
        )
    archs = [_architecture(name) for name in settings.missing]
    added = add_units(settings.profile, archs, seed=config.seed, error=settings.error, noisy=settings.noisy)
    model = read_model(settings.profile)
    say(f"{len(added)} units added to {settings.profile}")
    for name, arch in zip(settings.missing, archs, strict=True):
        say(f"{name}: {model.predict(arch):.3f} ms predicted")
    return model


def report(model: DeviceModel) -> list[str]:
    """What a profile says of itself, a line each."""
    about, errors = model.about, model.errors
    setting, space = about["setting"], about["space"]
    lines = [
        f"device      {model.device}: {setting['runtime']} on {about['fingerprint'].get('gpu') or about['fingerprint'].get('processor')}, "
        f"{setting['threads']} {'thread' if setting['threads'] == 1 else 'threads'}, batch {setting['batch']}",
        f"units       {len(model.times.measured):,} measured; space {space['name']} at {space['resolution']} x {space['resolution']} has "
        f"{space['units']:,}",
        f"model       {model.form}",
    ]
    spread = errors["spread"]
    counts = _counted(about["networks"])
    lines.append(
        f"networks    {counts}; held-out ones take {spread['min']:.3g} / {spread['median']:.3g} / {spread['max']:.3g} ms (least, "
        f"median, most: {spread['ratio']:.1f} times)"
    )
    lines += [f"error       {_worded(errors['held_out'])}", f"by MACs     {_worded(errors['macs'])}"]
    repeat = ", ".join(f"{kind} {value:.1%}".replace("%", " %") for kind, value in errors["repeat"].items())
    lines.append(f"repeated    mean difference: {repeat}")
    if about["noisy"]:
        lines.append("noisy       the machine was too noisy for these numbers to be believed")
        lines += [f"            {sign}" for sign in about["signs"]]
    return lines


def _counted(networks: list[Mapping[str, Any]]) -> str:
    roles = [line["role"] for line in networks]
    words = {"calibration": "for calibration", "held_out": "held out", "given": "given"}
    return ", ".join(f"{roles.count(role)} {word}" for role, word in words.items() if role in roles)


def _worded(error: Mapping[str, float]) -> str:
    """An accuracy for reading."""
    shares = f"{error['within_5']:.0%} within 5 %, {error['within_10']:.0%} within 10 %"
    text = f"MAPE {error['mape']:.1%}, {shares}, tau {error['tau']:.2f}, bias {error['bias']:+.1%}"
    return (
        text.replace("%,", " %,").replace("% within", " % within").replace("  ", " ").removesuffix("%").rstrip() + " %"
    )
