"""`primacy`: one command for people. Each subcommand is imported only when it is used, so that `--help` is quick."""

from __future__ import annotations

import importlib
import os

import click

from primacy_cli.session import ADDRESS_DEFAULT, FORMATS, Session, Tls

SECTIONS = {
    "Look": {
        "status": "Show the whole group on one screen.",
        "watch": "Keep that screen up to date, with what happens.",
        "perf": "Show how regions did, and how objectives are met.",
        "metrics": "Show what was measured over time.",
        "readiness": "Say for every region: who takes over if it dies now?",
        "doctor": "Check links, clocks, agents, placement and policy.",
        "explain": "Explain an election: now, in the past, or if a region died.",
        "history": "Show past moves of the active lease.",
        "events": "Show the journal of decisions.",
        "alerts": "Show what is wrong and what to do; acknowledge it.",
        "overrides": "Show what is drained, cordoned, paused or pinned.",
    },
    "Move": {
        "failover": "Move the active lease; approve or cancel a move.",
        "drain": "Take traffic off a region, the lease first.",
        "undrain": "Give a drained region its traffic back.",
        "cordon": "Forbid a region to become active.",
        "uncordon": "Let a cordoned region become active again.",
        "pause": "Put off automatic moves of the lease.",
        "resume": "Let the lease move by itself again.",
    },
    "Traffic": {
        "weights": "Show how traffic is spread over regions, and why.",
        "pin": "Set the shares of reads by hand.",
        "unpin": "Let the policy spread reads again.",
        "route": "Ask where one request should go.",
        "dataplane": "Make proxies and clients follow the weights.",
    },
    "Replicate": {
        "model": "Push models, and see and change which versions regions have.",
        "config": "Read and write the documents that all regions share.",
        "conflict": "See writes that did not know of each other, and decide.",
        "log": "Show the log of models and documents.",
        "replication": "Show how far each region has come in the log.",
        "retry": "Let regions try again what they have put aside.",
    },
    "Set up": {
        "up": "Run a local cluster of several regions until Ctrl-C.",
        "regions": "Show and change the regions of the group.",
        "policy": "Show, check and change the policy of the group.",
        "wait": "Wait until the group is as wanted, for scripts.",
        "recover": "Let a coordinator with an old or empty store decide again.",
    },
}
COMMANDS = {name: text for commands in SECTIONS.values() for name, text in commands.items()}
"""Name -> what it does. The module `primacy_cli.commands.NAME` has it as `command`, unless `_BESIDE` says otherwise."""
_BESIDE = {"undrain": "drain", "uncordon": "cordon", "resume": "pause", "unpin": "pin"}
"""Commands that stand in the module of the one that they undo, under their own name."""


class LazyGroup(click.Group):
    """Knows its commands by name before it imports one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        home = _BESIDE.get(cmd_name)
        module = importlib.import_module(f"primacy_cli.commands.{home or cmd_name}")
        found = getattr(module, cmd_name if home else "command")
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean `{close[0]}`?" if close else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        # One width for all sections, so that their columns stand below each other.
        width = max(map(len, COMMANDS))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"primacy {version('primacy')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--address",
    envvar="PRIMACY_ADDRESS",
    show_envvar=True,
    default=ADDRESS_DEFAULT,
    show_default=True,
    metavar="HOST:PORT",
    help="The coordinator.",
)
@click.option(
    "--agent", envvar="PRIMACY_AGENT", show_envvar=True, metavar="HOST:PORT", help="An agent, where one is asked."
)
@click.option(
    "--group", envvar="PRIMACY_GROUP", show_envvar=True, metavar="NAME", help="The failover group [default: default]."
)
@click.option("-o", "--output", type=click.Choice(FORMATS), default="table", show_default=True, help="What to print.")
@click.option("--tls-ca", envvar="PRIMACY_TLS_CA", show_envvar=True, metavar="FILE", help="Who signs servers; PEM.")
@click.option(
    "--tls-certificate", envvar="PRIMACY_TLS_CERTIFICATE", show_envvar=True, metavar="FILE", help="Yours; PEM."
)
@click.option("--tls-key", envvar="PRIMACY_TLS_KEY", show_envvar=True, metavar="FILE", help="Its private key; PEM.")
@click.option(
    "--tls-server-name",
    envvar="PRIMACY_TLS_SERVER_NAME",
    show_envvar=True,
    metavar="NAME",
    help="Name in the server's certificate, if not its host. Any of these four turns TLS on.",
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="And exit.")
@click.pass_context
def cli(
    context: click.Context,
    address: str,
    agent: str | None,
    group: str | None,
    output: str,
    tls_ca: str | None,
    tls_certificate: str | None,
    tls_key: str | None,
    tls_server_name: str | None,
) -> None:
    """Keeps exactly one region active, and traffic on healthy capacity.

    Begin with `primacy up`, then `primacy status`.

    \b
    Examples:
        primacy up --regions 3
        primacy explain --if-down us-east
        primacy failover --to eu-west
        primacy drain us-east --reason "new kernel" --for 30m

    Exit codes: 0 done, 1 refused (or a check failed), 2 wrong usage, 3 nobody answered, 4 waited in vain.
    """
    tls = Tls(tls_ca or "", tls_certificate or "", tls_key or "", tls_server_name or "")
    context.obj = Session(address, agent or "", group or "", output, tls, connect=context.obj)


def main() -> None:
    # gRPC reads these when it is imported: its own lines on stderr would hide ours.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    cli(prog_name="primacy")


if __name__ == "__main__":
    main()
