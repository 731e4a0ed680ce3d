[ -x "$CLIENTS/bin/go-suite" ] || { echo 'no AWS SDK for Go (tests/clients/install)'; exit 77; }
exec "$CLIENTS/bin/go-suite"
