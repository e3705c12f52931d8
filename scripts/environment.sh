# Sourced by the other scripts: makes the project's virtual environment when there is none, and keeps it up to date.
#
#   use_environment EXTRA   installs the project, editable, with the extra ("" for none); sets $venv
#
# It has the dashboard bundled, too, when its sources changed; PRIMACY_BUILD_DASHBOARD=0 goes without.
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

# What the dashboard is made from, and whether its bundle is there.
page_state() {
  local page=coordinator/primacy_coordinator/web/assets/index.html
  [ "${PRIMACY_BUILD_DASHBOARD-}" = 0 ] && { echo off; return; }
  echo "$(cd dashboard && find src ./*.html ./*.mjs ./*.json -type f -print0 | sort -z | xargs -0 cat | cksum)" \
    "$([ -e "$page" ] && echo built)"
}

# Bundles the dashboard anew, or fails where there is no Node.js for it: an installation brings one.
renew_page() {
  local code=0
  "$venv/bin/python" dashboard/bundle.py || code=$?
  [ "$code" -ne 3 ] || return 1
  page_state >"$venv/.page"
}

use_environment() {
  local extra="${1-}" wanted stamp python target
  local built=agent/primacy_agent/dataplane/xds/descriptors.binpb  # hatch_build.py writes it at the installation.
  venv="${PRIMACY_VENV:-.venv}"
  target=".${extra:+[$extra]}"
  stamp="$venv/.installed-${extra:-plain}"
  wanted="$(cat pyproject.toml hatch_build.py dashboard/bundle.py | cksum) $PWD"
  if [ -x "$venv/bin/primacy" ] && [ -e "$built" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    # What could not be bundled is tried again when its sources change.
    if [ "$(cat "$venv/.page" 2>/dev/null)" = "$(page_state)" ] || renew_page; then
      venv="$(cd "$venv" && pwd)"
      return
    fi
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
  page_state >"$venv/.page"
  case "$(cat "$venv/.page")" in
    off | *built) ;;
    *) echo "The dashboard could not be bundled; why: $venv/bin/python dashboard/bundle.py" >&2 ;;
  esac
  venv="$(cd "$venv" && pwd)"
}
