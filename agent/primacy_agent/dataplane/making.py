"""Makes what the settings switch on; what is off is not even imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from primacy_agent.core.traffic import Traffic
from primacy_agent.dataplane.config import DataplaneConfig, WeightsFileConfig
from primacy_agent.dataplane.outputs import Counted, Output, Outputs, Tell
from primacy_agent.tasks import Tasks


def make_outputs(
    config: DataplaneConfig, group: str, state_folder: Path, tell: Tell, counted: Counted, tasks: Tasks
) -> Outputs:
    """None of them is started yet. Raises ListenError where the installation is not whole."""
    found: list[Output] = []
    if config.haproxy.address:
        from primacy_agent.dataplane.haproxy import HaproxyChecks

        found.append(HaproxyChecks(config.haproxy.address, group, tell))
    if config.file.is_wanted:
        found += _file(config.file, state_folder, tell, tasks)
    if config.xds.address:
        from primacy_agent.dataplane.kept_addresses import KeptAddresses
        from primacy_agent.dataplane.xds.output import XdsOutput

        kept = KeptAddresses(state_folder, tasks)
        found.append(XdsOutput(config.xds, config.resolve_interval.seconds, group, tell, counted, kept=kept))
    return Outputs(found)


def _file(config: WeightsFileConfig, state_folder: Path, tell: Tell, tasks: Tasks) -> Iterator[Output]:
    """The file and, behind it, the hook."""
    from primacy_agent.dataplane.weights_file import WeightsFile

    written: Callable[[Traffic], None] = _nobody
    if config.on_weights:
        from primacy_agent.dataplane.weights_hook import WeightsHook

        hook = WeightsHook(
            config.on_weights,
            config.path,
            config.hook_timeout.seconds,
            config.hook_interval.seconds,
            state_folder,
            tell,
            tasks,
        )
        written = hook.file_written
        yield hook
    yield WeightsFile(config.path, tell, tasks, written)


def _nobody(_: Traffic) -> None:
    """There is no hook."""
