-- Whether anyone still reads what was there before transaction $1. Of sessions of other roles that we may not look into
-- we know nothing: they are taken for old until $2, which says that the transaction is long past.
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE pid <> pg_backend_pid()
      AND (datname = current_database() OR datname IS NULL)
      AND (
          age(backend_xmin) >= age($1::text::xid8::xid)
          OR (NOT $2 AND backend_xmin IS NULL AND query = '<insufficient privilege>')
      )
)
