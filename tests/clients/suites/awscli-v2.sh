aws=/usr/bin/aws
[ -x $aws ] && $aws --version 2>&1 | grep -q '^aws-cli/2' || { echo 'no aws cli v2 (the Debian package awscli)'; exit 77; }
unset PYTHONPATH
. "$(dirname "$0")/awscli.inc"
