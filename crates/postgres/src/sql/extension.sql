SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') AS available,
       EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') AS installed
