# Sourced by the other scripts: makes the project's virtual environment when there is none, and keeps it up to date.
#
#   use_environment EXTRA   installs the project, editable, with the extra ("" for none); sets $venv
#
# PRIMACY_VENV names another folder than .venv; PYTHON another interpreter than the first that is new enough.

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 \
      && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "Primacy needs Python 3.11 or newer; none was found. Install it, or name one with PYTHON=/path/to/python." >&2
  return 1
}

use_environment() {
  local extra="${1-}" wanted stamp python target
  local built=agent/primacy_agent/dataplane/xds/descriptors.binpb  # hatch_build.py writes it at the installation.
  venv="${PRIMACY_VENV:-.venv}"
  target=".${extra:+[$extra]}"
  stamp="$venv/.installed-${extra:-plain}"
  wanted="$(cat pyproject.toml hatch_build.py | cksum) $PWD"
  if [ -x "$venv/bin/primacy" ] && [ -e "$built" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    venv="$(cd "$venv" && pwd)"
    return
  fi
  if [ ! -x "$venv/bin/python" ]; then
    python="$(find_python)"
    echo "Making a virtual environment in $venv ..." >&2
    "$python" -m venv "$venv" || {
      echo "The venv module is missing: on Debian and Ubuntu, apt-get install python3-venv." >&2
      return 1
    }
  fi
  echo "Installing what Primacy needs (once; about a minute) ..." >&2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e "$target"
  echo "$wanted" >"$stamp"
  venv="$(cd "$venv" && pwd)"
}
