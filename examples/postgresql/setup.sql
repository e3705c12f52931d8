-- Run once on the first primary, in the database of the application, as superuser: it reaches the standby by itself.

-- Who streams from the other region, and winds a former primary back.
CREATE ROLE replicator LOGIN REPLICATION;
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean) TO replicator;
GRANT EXECUTE ON FUNCTION pg_stat_file(text, boolean) TO replicator;
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text) TO replicator;
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO replicator;

-- The fence: writers say the epoch they act under, and an old one is refused, whatever they believe.
CREATE SCHEMA primacy;
GRANT USAGE ON SCHEMA primacy TO PUBLIC;
CREATE TABLE primacy.fence (
  the_only_row boolean PRIMARY KEY DEFAULT true CHECK (the_only_row),
  epoch bigint NOT NULL
);
INSERT INTO primacy.fence (epoch) VALUES (0);

CREATE FUNCTION primacy.check_epoch() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  given bigint := nullif(current_setting('primacy.epoch', true), '')::bigint;
  needed bigint;
BEGIN
  -- FOR SHARE: who raises the fence waits for the writers that passed it.
  SELECT epoch INTO needed FROM primacy.fence FOR SHARE;
  IF given IS NULL OR given < needed THEN
    RAISE EXCEPTION 'epoch % is fenced: this database takes writes from epoch % on', coalesce(given::text, '(none)'), needed
      USING ERRCODE = 'PR001', HINT = 'Ask the agent which region is active, and SET primacy.epoch to its epoch.';
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION primacy.guard(guarded regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TRIGGER primacy_epoch BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s '
    'FOR EACH STATEMENT EXECUTE FUNCTION primacy.check_epoch()', guarded);
END $$;
