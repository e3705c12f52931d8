"""`primacy-coordinator` whose groups nobody looks at: what reports cost without monitoring."""

from __future__ import annotations

import sys

from primacy_coordinator.main import main
from primacy_coordinator.shell.monitoring import Monitoring


def _rest(_: Monitoring) -> None:
    pass


Monitoring.start = _rest  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
