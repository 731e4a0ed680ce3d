[ -d "$CLIENTS/js/node_modules/@aws-sdk/client-s3" ] || { echo 'no AWS SDK for JavaScript (tests/clients/install)'; exit 77; }
echo "VERSION: @aws-sdk/client-s3 $(node -p "require('$CLIENTS/js/node_modules/@aws-sdk/client-s3/package.json').version"), node $(node --version)"
cp "$(dirname "$0")/../js/suite.mjs" "$CLIENTS/js/suite.mjs"
exec node "$CLIENTS/js/suite.mjs"
