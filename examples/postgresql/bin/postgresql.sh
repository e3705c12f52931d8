# Sourced by the other programs here: reads the settings file, and names what they all ask.
# shellcheck shell=bash

if [ ! -r "${1-}" ]; then
  echo "usage: $(basename "$0") SETTINGS-FILE (see postgresql.env)" >&2
  exit 2
fi
# shellcheck disable=SC1090
. "$1"
: "${PGBIN:?}" "${PGDATA:?}" "${PGHOST:?}" "${PGPORT:?}" "${PGDATABASE:?}" "${PEER:?}" "${AGENT:?}" "${START:?}" "${STOP:?}"
AS="${AS-}" # How to become the owner of PGDATA, e.g. "sudo -u postgres"; empty: the agent runs as that user.
REJOIN="$PGDATA.rejoin"         # It was a primary, and may have entries that the new primary has not.
REWIND_LOCK="$PGDATA.rewinding" # Held while pg_rewind runs, which must not be cut short.

local_sql() {
  $AS "$PGBIN/psql" -X -qAt -v ON_ERROR_STOP=1 -h "$PGHOST" -p "$PGPORT" -d "$PGDATABASE" "$@"
}

answers() {
  $AS "$PGBIN/pg_isready" -q -h "$PGHOST" -p "$PGPORT"
}

# The agent's phase, e.g. PHASE_STANDBY; nothing when it does not answer.
phase() {
  curl -s -m 2 "$AGENT/active" | sed -n 's/.*"phase": "\([A-Z_]*\)".*/\1/p'
}

is_this_region_to_act() {
  case "$(phase)" in
    PHASE_PROMOTING | PHASE_ACTIVE | PHASE_FROZEN) return 0 ;;
    *) return 1 ;;
  esac
}

# Whether the other server is a primary whose timeline is on its disk, as pg_rewind needs it.
is_peer_primary() {
  [ "$($AS env PGCONNECT_TIMEOUT=2 "$PGBIN/psql" -X -qAt -d "$PEER dbname=$PGDATABASE" -c "
    SELECT CASE WHEN pg_is_in_recovery() THEN false ELSE
      ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int
        = (SELECT timeline_id FROM pg_control_checkpoint()) END" 2>/dev/null)" = t ]
}
