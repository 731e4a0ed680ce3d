command -v s3cmd >/dev/null || { echo 'no s3cmd'; exit 77; }
set -eu
echo "VERSION: $(s3cmd --version)"
host=${S3_ENDPOINT#*://}
tls=--no-ssl
[ "${S3_ENDPOINT%%:*}" = https ] && tls="--ssl --ca-certs=$S3_CA"
s() { s3cmd -c /dev/null --access_key="$S3_ACCESS_KEY" --secret_key="$S3_SECRET_KEY" --host="$host" --host-bucket="$host" --region="$S3_REGION" $tls --no-progress "$@"; }
at=s3://$S3_BUCKET/$PREFIX
for file in f0 f1 f65537 f8388609 f17825792; do
  s put >/dev/null "$WORK/$file" "$at/$file"
  s get --force "$at/$file" back >/dev/null && cmp back "$WORK/$file"
done
[ "$(s ls "$at/f17825792" | awk '{print $3}')" = 17825792 ]
s cp "$at/f65537" "$at/copy + ü" && s get --force "$at/copy + ü" back && cmp back "$WORK/f65537"
mkdir -p tree && cp "$WORK/f1" "$WORK/f65536" tree/
s sync tree/ "$at/tree/"
s get --recursive --force "$at/tree/" back-tree/ && diff -r tree back-tree
s del --recursive --force "$at/"
[ -z "$(s ls "$at/")" ]
