command -v curl >/dev/null || { echo 'no curl'; exit 77; }
set -eu
echo "VERSION: $(curl --version | head -n1 | cut -d' ' -f1-2)"
c() { curl -sS --fail-with-body --aws-sigv4 "aws:amz:$S3_REGION:s3" --user "$S3_ACCESS_KEY:$S3_SECRET_KEY" -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" "$@"; }
at=$S3_ENDPOINT/$S3_BUCKET/$PREFIX
for file in f0 f1 f65536 f8388609; do
  c -T "$WORK/$file" "$at/$file"
  c "$at/$file" | cmp - "$WORK/$file"
done
c -r 10-19 "$at/f65536" | cmp - <(tail -c +11 "$WORK/f65536" | head -c 10)
[ "$(c -I "$at/f8388609" | tr -d '\r' | sed -n 's/^[Cc]ontent-[Ll]ength: //p')" = 8388609 ]
c "$S3_ENDPOINT/$S3_BUCKET?list-type=2&prefix=$PREFIX%2F" | grep -q '<Size>8388609</Size>'
for file in f0 f1 f65536 f8388609; do c -X DELETE "$at/$file"; done
[ "$(curl -s -o /dev/null -w '%{http_code}' "$at/f1")" = 403 ]
