"""`primacy-agent`: reads its settings, then serves until it is told to stop."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from primacy_wire.daemon import follow_parent

PROGRAM = "primacy-agent"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 stopped as told, 1 cannot run, 2 wrong settings."""
    follow_parent()
    # gRPC reads these when it is imported: nothing forks here, and its own lines on stderr are ours to make.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    arguments = _parser().parse_args(argv)

    from primacy_wire.settings import ConfigError

    from primacy_agent.allocator import keep_freed_memory
    from primacy_agent.serve import CannotRun, load_settings, run

    try:
        settings = load_settings(arguments.config, dict(os.environ), _flags(arguments))
    except ConfigError as error:
        for problem in error.problems:
            print(f"{PROGRAM}: {problem}", file=sys.stderr)  # noqa: T201
        return 2
    if arguments.check:
        print(f"{PROGRAM}: the settings are valid")  # noqa: T201
        return 0
    keep_freed_memory()
    try:
        run(settings)
    except CannotRun as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Watches the service beside it, reports to a coordinator, and holds the active lease if granted.",
        epilog="Flags win over PRIMACY_AGENT_… variables, which win over the settings file. Probes need the file.",
    )
    parser.add_argument("--config", metavar="FILE", help="settings file (YAML)")
    parser.add_argument("--check", action="store_true", help="check the settings, then exit")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        type=_setting,
        help="any setting, e.g. log.level=debug",
    )
    parser.add_argument("--group", metavar="NAME", help="failover group (default: default)")
    parser.add_argument("--region", metavar="NAME", help="this agent's region")
    parser.add_argument("--name", metavar="NAME", help="this agent's name, unique in its region (default: agent-1)")
    parser.add_argument("--coordinator", metavar="HOST:PORT", action="append", help="a coordinator; may be repeated")
    parser.add_argument("--grpc", metavar="HOST:PORT", help="where the own service and other agents call")
    parser.add_argument("--http", metavar="HOST:PORT", help="where proxies look; empty: nowhere")
    parser.add_argument("--state-dir", metavar="DIR", help="folder with what this agent must remember")
    parser.add_argument("--release-on-stop", action="store_true", help="give the lease up when stopped, for leaving")
    parser.add_argument("--insecure", action="store_true", help="serve without TLS also beyond this machine")
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error")
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    return parser


def _flags(arguments: argparse.Namespace) -> dict[str, str | None]:
    flags: dict[str, str | None] = {
        "group": arguments.group,
        "region": arguments.region,
        "name": arguments.name,
        "coordinators": ",".join(arguments.coordinator) if arguments.coordinator else None,
        "grpc.address": arguments.grpc,
        "http.address": arguments.http,
        "stateDir": arguments.state_dir,
        "releaseOnStop": "true" if arguments.release_on_stop else None,
        "insecure": "true" if arguments.insecure else None,
        "log.level": arguments.log_level,
    }
    return flags | dict(arguments.set)


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} must be KEY=VALUE")
    return key, value


def _version() -> str:
    from importlib.metadata import version

    return version("primacy")


if __name__ == "__main__":
    sys.exit(main())
