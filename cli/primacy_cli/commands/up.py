"""`primacy up`."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from primacy_cli.failures import REFUSED, USAGE, CommandFailed
from primacy_cli.local.places import AGENTS_MAX, REGIONS_MAX, places
from primacy_cli.words import plural

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from primacy_cli.local.chaos import Chaos
    from primacy_cli.local.cluster import Cluster
    from primacy_cli.local.places import Place
    from primacy_cli.local.signals import Signals

RATE_DEFAULT, RATE_MAX = 30.0, 200.0
"""Requests per second of each region: clients, agents and services share somebody's laptop."""
EVERY_S = 20.0
ATTEMPTS = 3
"""Starts, when somebody takes a port between its choice and its use."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which processes there are, and where."""

    folder: Path
    where: tuple[Place, ...]
    agents: int
    """In each region."""
    free_ports: bool
    """Whether the usual ports are passed over."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What makes the figures move."""

    rate: float
    """Requests per second of each region; 0: none."""
    seed: int | None
    """Of the faults; None: there are none."""
    every_s: float


@click.command("up")
@click.option("--regions", default=3, show_default=True, type=click.IntRange(1, REGIONS_MAX), help="How many.")
@click.option(
    "--agents-per-region",
    "agents",
    default=1,
    show_default=True,
    type=click.IntRange(1, AGENTS_MAX),
    help="How many in each region, each with an instance of the service.",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where settings, state and logs go, to go on from there next time. Default: a new folder, removed at the end.",
)
@click.option(
    "--free-ports",
    is_flag=True,
    help="Take any free ports, not the usual ones: another cluster may run beside this one, and none takes a port that "
    "a killed process of the other has left.",
)
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Policy of the group (YAML). What it does not name is quick enough to watch.",
)
@click.option(
    "--traffic",
    "rate",
    is_flag=False,
    flag_value=RATE_DEFAULT,
    default=0.0,
    metavar="[RATE]",
    type=click.FloatRange(0, RATE_MAX),
    help=f"Let clients of every region send requests, so many per second each. [{RATE_DEFAULT:g} if no number follows]",
)
@click.option(
    "--chaos",
    "seed",
    is_flag=False,
    flag_value=1,
    default=None,
    metavar="[SEED]",
    type=click.IntRange(0),
    help="Let things go wrong, one at a time, and mend them: kills, standstills, surges, drains, models, conflicts.",
)
@click.option(
    "--chaos-every",
    "every_s",
    default=EVERY_S,
    show_default=True,
    type=click.FloatRange(1),
    help="How long all is well before the next thing goes wrong, in seconds.",
)
def command(
    regions: int,
    agents: int,
    folder: Path | None,
    free_ports: bool,
    policy: Path | None,
    rate: float,
    seed: int | None,
    every_s: float,
) -> None:
    """Run a local cluster of several regions until Ctrl-C.

    A coordinator, and for each region an agent and a small inference service: real processes, each with its own state.
    When all are ready, DIR/cluster.json says where everything is.

    \b
    Examples:
        primacy up --regions 3
        primacy up --regions 2 --agents-per-region 2 --dir ./cluster
        primacy up --traffic --chaos
    """
    text = _policy_text(policy)
    with ExitStack() as stack:
        kept = folder is not None
        chosen = (folder or Path(tempfile.mkdtemp(prefix="primacy-up-"))).absolute()
        _take(stack, chosen)
        _check_agents(chosen, agents)
        demo = Demo(rate, seed, every_s)
        layout = Layout(chosen, places(regions), agents, free_ports)
        if _run(layout, text, policy is not None, demo) and not kept:
            stack.callback(shutil.rmtree, chosen, ignore_errors=True)


def _policy_text(policy: Path | None) -> str:
    """The quick policy, with what the file says instead. Raises CommandFailed."""
    from primacy_cli.local.plan import DEMO_POLICY

    if policy is None:
        return DEMO_POLICY
    from primacy_wire.policy_file import policy_from_text, policy_to_yaml
    from primacy_wire.settings import ConfigError

    try:
        given = policy_from_text(policy.read_text(encoding="utf-8"), str(policy))
    except ConfigError as error:
        raise CommandFailed("\n".join(error.problems), USAGE, f"mend {policy}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{policy}: {error}", USAGE) from error
    merged = policy_from_text(DEMO_POLICY)
    for field, _ in given.ListFields():
        # Merged alone, a length of time would keep the other's whole seconds.
        cast("Message", merged).ClearField(field.name)
    merged.MergeFrom(given)
    return policy_to_yaml(merged)


def _check_agents(folder: Path, count: int) -> None:
    """Agents that an earlier cluster had would be missed for ever. Raises CommandFailed."""
    found = sorted(int(path.stem.rpartition("-")[2]) for path in folder.glob("*/agent-*.yaml"))
    if found and found[-1] > count:
        raise CommandFailed(
            f"{folder} is of a cluster with {found[-1]} agents in each region, not {count}",
            REFUSED,
            f"the same with --agents-per-region {found[-1]}, or with another --dir",
        )


def _take(stack: ExitStack, folder: Path) -> None:
    """Lock the folder, so that two clusters never share one. Raises CommandFailed."""
    from primacy_wire.daemon import FolderError, FolderLocked, StateFolder

    from primacy_cli.local import cluster_file
    from primacy_cli.local.processes import pid_files

    try:
        stack.enter_context(StateFolder(folder, "primacy up"))
        for state, process in pid_files(folder):
            raise CommandFailed(
                f"{state} is in use by {process.program}, process {process.pid}",
                REFUSED,
                f"kill {process.pid}, or choose another folder with --dir",
            )
        cluster_file.remove(folder)
    except FolderLocked as error:
        who = f"process {error.owner_pid}" if error.owner_pid else "another process"
        raise CommandFailed(
            f"{folder} is in use by the cluster of {who}", REFUSED, "choose another folder with --dir"
        ) from error
    except (FolderError, OSError) as error:
        raise CommandFailed(str(error), REFUSED, "choose another folder with --dir") from error


def _run(layout: Layout, policy_text: str, policy_given: bool, demo: Demo) -> bool:
    """Run the cluster to its end. Whether it was ready once. Raises CommandFailed."""
    from primacy_cli.local.cluster import Cluster, PortTaken, Stopped
    from primacy_cli.local.plan import make_plan
    from primacy_cli.local.ports import Ports
    from primacy_cli.local.processes import stop_all
    from primacy_cli.local.signals import Signals

    folder = layout.folder
    with Signals() as signals:
        for attempt in range(ATTEMPTS):
            try:
                ports = Ports(defaults=attempt == 0 and not layout.free_ports)
                plan = make_plan(folder, layout.where, layout.agents, policy_text, ports, demo.rate)
            except OSError as error:
                raise CommandFailed(str(error), REFUSED, "choose another folder with --dir") from error
            cluster = Cluster(folder, plan)
            try:
                _live(cluster, signals, policy_text if policy_given else "", demo)
            except PortTaken:
                continue
            except Stopped:
                return False
            else:
                return True
            finally:
                stop_all(cluster.children, folder)
    raise CommandFailed("other programs took every port that was chosen", REFUSED, "the same again")


def _live(cluster: Cluster, signals: Signals, policy_text: str, demo: Demo) -> None:
    plan = cluster.plan
    click.echo(f"Starting a coordinator and {plural(len(plan.regions), 'region')} in {cluster.folder} …")
    # Before gRPC is imported: the children begin sooner, and no thread of it is there when they are made.
    cluster.start()

    from primacy_cli.local.screen import make_screen, three_things
    from primacy_cli.local.watch import Watch

    with Watch(plan) as watch:
        seconds = cluster.wait_until_ready(watch, signals)
        if policy_text:
            # The coordinator takes its file for a new group only; this one may be of an earlier run.
            watch.set_policy(policy_text)
        path = cluster.write_file()
        status = watch.status()
        active = status.active_region if status else ""
        click.echo(f"Ready after {seconds:.1f} s: {active} is active. Everything about it: {path}")
        click.echo("Try next, in another terminal:")
        pids = {child.plan.title: child.pid for child in cluster.children}
        for index, line in enumerate(three_things(plan, pids, active), 1):
            click.echo(f"  {index}. {line}")
        click.echo()
        with ExitStack() as stack:
            chaos = stack.enter_context(closing(_chaos(cluster, demo))) if demo.seed is not None else None
            cluster.show(watch, signals, stack.enter_context(make_screen()), chaos)
    click.echo("Stopping …")


def _chaos(cluster: Cluster, demo: Demo) -> Chaos:
    from primacy_cli.local.chaos import Chaos

    return Chaos(cluster, demo.seed or 0, demo.every_s)
