"""Every command of the documentation, run in the order of the pages against one real cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from primacy.v1.election_pb2 import Failover, FailoverState
from primacy.v1.election_service_pb2 import ExplainElectionRequest, ListFailoversRequest
from primacy.v1.election_service_pb2_grpc import ElectionServiceStub
from primacy.v1.monitoring_pb2 import AlertState
from primacy.v1.override_pb2 import OverrideKind
from primacy.v1.region_pb2 import RegionStatus
from primacy.v1.status_service_pb2 import GetStatusRequest, GetStatusResponse, ListAlertsRequest
from primacy.v1.status_service_pb2_grpc import StatusServiceStub
from primacy_cli.demo.model import make_model
from primacy_cli.local.ports import Ports

from tests.e2e.clusters_up import PRIMACY, Up, environment, is_running, page, until
from tests.e2e.documents import FOLDER, Step, anchors_of, links_of, missing, read, steps_of

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "docs/README.md",
    "docs/concepts.md",
    "docs/first-hour.md",
    "docs/failover.md",
    "docs/drain.md",
    "docs/weights.md",
    "docs/routing.md",
    "docs/hooks.md",
    "docs/probes.md",
    "docs/dataplane.md",
    "docs/observe.md",
    "docs/configs.md",
    "docs/models.md",
    "docs/fencing.md",
    "docs/alerts.md",
    "docs/metrics.md",
    "docs/dashboard.md",
    "docs/faults.md",
    "docs/policy.md",
    "docs/agent.md",
    "docs/guarantees.md",
    "docs/benchmarks.md",
    "CHANGELOG.md",
)
"""The pages with commands, in the order in which a reader meets them; decisions (`docs/adr`) have none."""
CANNOT = {
    "git clone <this repository> primacy && cd primacy": "the reader's own copy of the repository",
    "scripts/demo": "makes an environment and runs `primacy up`, which is the cluster that all other lines run against",
    "primacy up --traffic --chaos": "tests of its own run it",
    "primacy up --regions 3 --dir ./cluster": "it is the cluster that all other lines run against",
    "primacy-coordinator --data-dir /var/lib/primacy --policy policy.yaml": "a host's own folders and ports",
    "primacy-agent --config agent.yaml": "a host's own folders and ports",
    "envoy -c envoy.yaml": "Envoy is the reader's own; the tests of integration run it with that very file",
    "GRPC_XDS_BOOTSTRAP=bootstrap.json my-client": "the reader's own client",
    "primacy recover --yes": "says that a coordinator is lost for good, and waits for a minute",
}
"""Lines that no test runs, and why."""
ASKS = re.compile(r"primacy (failover|drain|cordon|pause|pin|policy set)\b(?!.*(--dry-run|--yes))")
"""These ask before they act; the reader says yes, and so does this test."""
ENDLESS = re.compile(r"primacy (watch(?!.*--once)|events.* (-f|--follow)|weights.* --watch|config watch)\b")
"""These go on until Ctrl-C."""
POLICY = """\
firstWait: 4s
stableFor: 1s
holdDown: 1s
coolDown: 0s
flapLimit: 1000
drainTime: 1s
slowStart: 1s
weightSlew: 1
weightHysteresis: 0
"""
REGIONS = ("us-east", "eu-west", "ap-south")
LISTEN = (7800, 7810)
COMMAND_S = 60.0


class Reader:
    """Somebody who does what a page says, at one cluster that `primacy up` runs in `./cluster`."""

    def __init__(self, up: Up, folder: Path) -> None:
        self.up = up
        self.folder = folder
        self.pids = {name: self._service(name)["pid"] for name in REGIONS}
        self.policy = up.primacy("policy", "get").stdout
        channel = grpc.insecure_channel(up.address)
        self._status = StatusServiceStub(channel)
        self._elections = ElectionServiceStub(channel)
        self.settings = {name: self._settings(name).read_text() for name in REGIONS}
        self._listen = {f"127.0.0.1:{port}": Ports(defaults=False).take(port) for port in LISTEN}
        """Where the proxies of the pages listen, and where they do here."""
        self.givens: dict[str, Callable[..., None]] = {
            "kill": self.kill,
            "start": self.start,
            "healthy": self.healthy,
            "moved": self.moved,
            "fit": self.fit,
            "waiting": self.waiting,
            "lag": self.lag,
            "hooks": self.hooks,
            "model": self.model,
            "alert": self.alert,
        }

    # ---- what a page asks for

    def do(self, step: Step) -> None:
        if step.kind == "given":
            name, *words = step.text.split()
            self.givens[name](*words)
        elif step.kind == "file":
            path = self.folder / Path(step.path).name
            path.write_text(step.text.replace(FOLDER, str(self.folder)))
            path.chmod(0o755 if step.text.startswith("#!") else 0o644)
        elif step.text.startswith("COMMAND &"):
            self.start(*(name for name in REGIONS if not is_running(self.pids[name])))
        else:
            self.run(step)

    def run(self, step: Step) -> None:
        line = self._filled(step.text)
        words = ["bash", "-c", line]
        environ = {
            **environment(),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PRIMACY_ADDRESS": self.up.address,
            "PRIMACY_AGENT": self.up.region("us-east")["agents"][0]["grpc"],
            "COLUMNS": "300",
        }
        if ENDLESS.match(line):
            printed = self._begin(["bash", "-c", f"exec {line}"], environ)
            code = step.exit_code
        else:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=environ,
                text=True,
                timeout=COMMAND_S,
                check=False,
            )
            code, printed = done.returncode, done.stdout
        assert code == step.exit_code, f"{step}\n{line}\nexit code {code}:\n{printed}"
        assert "Traceback" not in printed, f"{step}\n{printed}"
        absent = missing(step.shown, printed)
        assert not absent, f"{step}\nthe page shows\n  {absent}\nit printed\n{printed}"

    def _begin(self, words: list[str], environ: dict[str, str]) -> str:
        """Run what goes on for ever, until it has said something."""
        out = self.folder / "endless.out"
        with out.open("wb") as file:
            # Started in the background of a shell, this process ignores the signal, and so would its children.
            process = subprocess.Popen(
                ["env", "--default-signal=INT", *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=self.folder,
                env=environ,
            )
        try:
            until(lambda: out.read_text().count("\n") > 1, f"{words} says something")
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0, out.read_text()
        finally:
            process.kill()
            process.wait()
        return out.read_text()

    def _filled(self, line: str) -> str:
        """The line with what the reader puts into it: ports, ids, pids, folders, and their yes."""
        for number, name in enumerate(REGIONS):
            agent = self.up.region(name)["agents"][0]
            line = line.replace(f"127.0.0.1:{7410 + number}", agent["grpc"])
            line = line.replace(f"127.0.0.1:{7490 + number}", agent["http"])
            line = line.replace(f"127.0.0.1:{7600 + number}", self.up.region(name)["services"][0]["http"])
            line = line.replace(f"127.0.0.1:{7440 + number}", agent["xds"])
            line = line.replace(f"127.0.0.1:{7460 + number}", agent["haproxy"])
        for shown, address in self._listen.items():
            line = line.replace(shown, address)
        line = line.replace("127.0.0.1:7400", self.up.address)
        line = line.replace("127.0.0.1:7480", self.up.cluster["coordinators"][0]["http"])
        line = line.replace(FOLDER, str(self.folder))
        if re.search(r"\bPID\b", line):
            line = re.sub(r"\bPID\b", str(self.pids[self.status().active_region]), line)
        if re.search(r"\bID\b", line):
            line = re.sub(r"\bID\b", self.newest().id, line)
        return f"{line} --yes" if ASKS.match(line) else line

    # ---- what happens by itself

    def kill(self, name: str) -> None:
        os.kill(self.pids[name], signal.SIGKILL)
        until(lambda: not is_running(self.pids[name]), f"the service of {name} is dead")

    def start(self, *names: str) -> None:
        for name in names:
            self.pids[name] = self.up.restart(self._service(name))

    def healthy(self) -> None:
        def are_well() -> bool:
            return {region.status for region in self.status().regions} == {RegionStatus.REGION_STATUS_HEALTHY}

        try:
            until(are_well, "all is well", 60.0)
        except AssertionError as error:
            raise AssertionError(self.up.primacy("status").stdout) from error

    def moved(self, name: str) -> None:
        until(lambda: self.status().active_region not in ("", name), f"the lease leaves {name}", 60.0)

    def fit(self, name: str) -> None:
        """Wait until nothing speaks against electing the region: a page says that it takes a moment."""

        def eligible() -> bool:
            ranked = self._elections.ExplainElection(ExplainElectionRequest()).candidates
            return any(each.region == name and each.eligible for each in ranked)

        until(eligible, f"{name} is fit", 60.0)

    def waiting(self) -> None:
        asks = FailoverState.FAILOVER_STATE_AWAITING_APPROVAL
        until(lambda: self.newest().state == asks, "a move asks for approval", 60.0)

    def lag(self, length: str) -> None:
        """Every region says that its data is so far behind."""
        seconds = float(length.removesuffix("s"))
        probe = {
            "name": "replica",
            "kind": "exec",
            "argv": ["/bin/echo", f"lag_seconds {seconds:g}"],
            "series": {"lag_seconds": "lag_seconds"},
            "advisory": True,
        }
        self._set_up(lambda settings: settings["probes"].append(probe))

        def known() -> bool:
            return all(region.lag.age.ToTimedelta().total_seconds() == seconds for region in self.status().regions)

        until(known, f"everybody knows of a lag of {length}", 30.0)

    def hooks(self) -> None:
        """Every agent has the hooks of the page."""
        page = yaml.safe_load((self.folder / "agent.yaml").read_text())
        self._set_up(lambda settings: settings.update(hooks=page["hooks"]))

    def model(self) -> None:
        """Two models lie where the reader is."""
        for seed, name in enumerate(("model-a.json", "model-b.json"), 1):
            (self.folder / name).write_bytes(make_model(seed))

    def alert(self, name: str) -> None:
        """Wait until an alert fires."""

        def fires() -> bool:
            found = self._status.ListAlerts(ListAlertsRequest()).alerts
            return any(each.id == name and each.state == AlertState.ALERT_STATE_FIRING for each in found)

        until(fires, f"{name} fires", 30.0)

    # ---- the cluster

    def status(self) -> GetStatusResponse:
        return self._status.GetStatus(GetStatusRequest(), wait_for_ready=True, timeout=10)

    def newest(self) -> Failover:
        return self._elections.ListFailovers(ListFailoversRequest(page_size=1)).failovers[0]

    def as_at_first(self) -> None:
        """Undo what a page left: proxies, dead services, settings, overrides, policy, and where the lease is."""
        for file in self.folder.glob("*.pid"):
            pid = int(file.read_text())
            with suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip() == file.stem:
                    os.kill(pid, signal.SIGKILL)
            file.unlink()
        self.start(*(name for name in REGIONS if not is_running(self.pids[name])))
        changed = [name for name in REGIONS if self._settings(name).read_text() != self.settings[name]]
        for name in changed:
            self._settings(name).write_text(self.settings[name])
        self._restart_agents(changed)
        for each in self.status().overrides:
            kind = OverrideKind.Name(each.kind).removeprefix("OVERRIDE_KIND_")
            words = [{"DRAIN": "undrain", "CORDON": "uncordon", "PAUSE": "resume", "PIN": "unpin"}[kind]]
            if each.region:
                words += ["--from", each.region] if kind == "PIN" else [each.region]
            self.up.primacy(*words)
        if self.up.primacy("policy", "get").stdout != self.policy:
            assert self.up.primacy("policy", "set", "-", "--yes", stdin=self.policy).returncode == 0
        self.healthy()
        self._go_home()

    def _go_home(self) -> None:
        """Nothing is on its way, and us-east is active."""

        def is_home() -> bool:
            status = self.status()
            if not status.HasField("failover") and status.active_region not in ("", "us-east"):
                self.up.primacy("failover", "--to", "us-east", "--yes")
                status = self.status()
            return not status.HasField("failover") and status.active_region == "us-east"

        until(is_home, "us-east is active, and nothing on its way", 60.0)

    def _service(self, name: str) -> dict[str, Any]:
        return dict(self.up.region(name)["services"][0])

    def _settings(self, name: str) -> Path:
        return self.up.folder / name / "agent.yaml"

    def _set_up(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the settings of every agent, and restart it. The lease stays, or comes back."""
        for name in REGIONS:
            settings = yaml.safe_load(self.settings[name])
            change(settings)
            self._settings(name).write_text(yaml.safe_dump(settings))
        self._restart_agents(list(REGIONS))
        self._go_home()

    def _restart_agents(self, names: list[str]) -> None:
        """All at once. The lease comes back to the new life of its holder, or goes on to another region."""
        agents = [self.up.region(name)["agents"][0] for name in names]
        for agent in agents:
            os.kill(agent["pid"], signal.SIGTERM)
        until(lambda: not any(is_running(agent["pid"]) for agent in agents), "the agents have ended")
        for agent in agents:
            agent["pid"] = self.up.restart(agent)
        for agent in agents:
            until(lambda agent=agent: _is_connected(agent), "the agent is connected", 30.0)  # type: ignore[misc]
        if agents:
            self.healthy()
            until(lambda: self.status().active_region, "a region is active", 30.0)
            # They looked at each other while some were not there yet.
            until(self._are_in_touch, "all agents reach each other", 30.0)

    def _are_in_touch(self) -> bool:
        seen = {(one.observer.split("/")[0], one.region): one.reachable for one in self.status().sights if one.agent}
        return len(seen) == len(REGIONS) * (len(REGIONS) - 1) and all(seen.values())


def _is_connected(agent: dict[str, Any]) -> bool:
    assert is_running(agent["pid"]), Path(agent["log"]).read_text()[-2000:]
    return bool(json.loads(page(agent["http"], "/healthz")[2])["coordinator"]["connected"])


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("docs")
    policy = folder / "start.yaml"
    policy.write_text(POLICY)
    with Up(folder / "cluster", "--regions", "3", "--policy", str(policy)) as up:
        yield Reader(up, folder)


def require(program: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if shutil.which(program, path=path) is None:
        if os.environ.get("PRIMACY_TEST_REQUIRE") == "all":
            pytest.fail(f"{program} is missing")
        pytest.skip(f"{program} is missing: the page asks for it")


def page_steps(name: str) -> list[Step]:
    return steps_of(name, read(ROOT, name))


@pytest.mark.integration
@pytest.mark.parametrize("page", [page for page in PAGES if any(s.kind == "command" for s in page_steps(page))])
def test_every_command_of_a_page_does_what_it_says(reader: Reader, page: str) -> None:
    steps = page_steps(page)
    for program in ("grpcurl", "curl", "haproxy"):
        if any(step.text.startswith(program) for step in steps):
            require(program)
    try:
        for step in steps:
            if step.text not in CANNOT:
                reader.do(step)
    finally:
        reader.as_at_first()


def test_no_page_is_left_out() -> None:
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")}
    assert there | {"README.md", "CHANGELOG.md"} == set(PAGES)
    for name in PAGES:
        fences = set(re.findall(r"^```(\w+)", read(ROOT, name), re.MULTILINE))
        assert fences <= {"console", "yaml", "sh", "python", "text"}, f"{name}: commands stand in console blocks"
    for path in (ROOT / "docs" / "adr").glob("*.md"):
        assert "```console" not in path.read_text(), f"{path} has commands: list it"


def test_what_cannot_be_run_is_still_on_a_page() -> None:
    lines = {step.text for page in PAGES for step in page_steps(page)}
    assert set(CANNOT) <= lines


def test_every_command_of_the_program_is_on_a_page() -> None:
    listed = subprocess.run((*PRIMACY, "--help"), capture_output=True, text=True, check=True, env=environment()).stdout
    names = re.findall(r"^  ([a-z]+)  +[A-Z]", listed, re.MULTILINE)
    assert len(names) > 15
    text = "\n".join(step.text for page in PAGES for step in page_steps(page) if step.kind == "command")
    assert [name for name in names if not re.search(rf"\bprimacy {name}\b", text)] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in links_of(read(ROOT, page)):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target.read_text(encoding="utf-8")), link


def test_output_is_compared_line_by_line_but_for_numbers_and_what_is_left_out() -> None:
    printed = "REGION   STATUS\nus-east  HEALTHY  3.1 ms\neu-west  DOWN     12 min 3 s\n"
    assert missing(("REGION STATUS", "eu-west  DOWN  1 min 4 s"), printed) == ""
    assert missing(("us-east … 5 s",), printed) == ""
    assert missing(("eu-west  HEALTHY …",), printed) == "eu-west  HEALTHY …"
    assert missing(("eu-west …", "us-east …"), printed) == "us-east …", "order counts"


def test_a_block_says_what_are_commands_and_what_is_printed() -> None:
    text = "```console\n$ primacy drain a  # refused\nprimacy: no\n$ true\n```\n"
    text += "<!-- given: kill a -->\n```console\nls  # look\n```\n"
    first, second, given, third = steps_of("p.md", text)
    assert (first.exit_code, first.shown, second.shown) == (1, ("primacy: no",), ())
    assert (given.kind, given.text) == ("given", "kill a") and third.text == "ls"
