aws=
for try in "$CLIENTS/venv/bin/aws" "$(command -v aws || true)"; do
  [ -n "$try" ] && [ -x "$try" ] && "$try" --version 2>&1 | grep -q '^aws-cli/1' && aws=$try && break
done
[ -n "$aws" ] || { echo 'no aws cli v1'; exit 77; }
. "$(dirname "$0")/awscli.inc"
