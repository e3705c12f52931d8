"""Everything of replication at one agent, wired together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from primacy_wire.daemon import FolderError

from primacy_agent.config import AgentConfig
from primacy_agent.replication.appending import Appender, Link
from primacy_agent.replication.configs import Configs
from primacy_agent.replication.journal import Journal
from primacy_agent.replication.metrics import MetricsShare
from primacy_agent.replication.models import Models
from primacy_agent.replication.outbox import Outbox
from primacy_agent.replication.publishing import Publishing
from primacy_agent.replication.replicator import Replicator
from primacy_agent.store import ContentStore
from primacy_agent.tasks import Tasks
from primacy_agent.transfer import Fetcher, Limiter, PieceServer
from primacy_agent.transfer.sources import Links

JOURNAL_FILE = "replication.db"


class Replication:
    """Opened with the agent, closed with it."""

    def __init__(
        self,
        config: AgentConfig,
        folder: Path,
        key: str,
        incarnation: str,
        link: Link,
        addresses: Callable[[], dict[str, str]],
        epoch: Callable[[], int],
        say: Callable[[], None],
        tasks: Tasks,
    ) -> None:
        """Raises FolderError, StoreError."""
        self.config = config.replication.below(folder)
        self._check_folders()
        self._tasks = tasks
        self._closed = False
        self.journal = Journal(folder / JOURNAL_FILE)
        try:
            self.store = ContentStore(self.config.store_dir, self.config.models_dir)
        except BaseException:
            self.journal.close()
            raise
        tls = config.client_tls()
        memory = self.journal.memory
        self.appender = Appender(config.group, config.coordinators, tls, link)
        self.configs = Configs(self.config.configs_dir, memory.current.values(), self.journal.queue)
        self.models = Models(self.store, self.journal, self.config, config.group, config.region)
        self.outbox = Outbox(self.journal, self.configs, self.appender, link, key, epoch)
        self.pieces = PieceServer(self.store, limiter=Limiter(self.config.upload_bandwidth))
        self.links = Links(config.group, key, addresses, tls)
        self.fetcher = Fetcher(self.store, key, self.links, Limiter(self.config.bandwidth), self.pieces)
        self.metrics = MetricsShare(config.group, config.region, key, incarnation, link, self.links)
        self.publishing = Publishing(
            self.journal, self.models, self.outbox, self.appender, self.store, self.fetcher, config.group
        )
        self.replicator = Replicator(
            incarnation,
            self.journal,
            self.configs,
            self.models,
            self.outbox,
            self.store,
            self.fetcher,
            say,
            tasks,
        )

    def _check_folders(self) -> None:
        folders = {
            "replication.modelsDir": self.config.models_dir,
            "replication.configsDir": self.config.configs_dir,
            "replication.storeDir": self.config.store_dir,
        }
        seen: dict[str, str] = {}
        for name, folder in folders.items():
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise FolderError(f"{name}: {folder}: {error.strerror}") from error
            if not os.access(folder, os.W_OK | os.X_OK):
                raise FolderError(f"{name}: {folder} cannot be written by this user")
            other = seen.setdefault(str(folder.resolve()), name)
            if other != name:
                raise FolderError(f"{name}: {folder} is {other}, too: give each a folder of its own")

    def start(self) -> None:
        self._tasks.start(self.replicator.start(), name="replication")
        self._tasks.start(self.metrics.run(), name="metrics")

    async def close(self) -> None:
        """After the tasks were stopped. Only the first call does anything."""
        if self._closed:
            return
        self._closed = True
        await self.appender.close()
        await self.links.close()
        self.store.close()
        self.journal.close()
