command -v rclone >/dev/null || { echo 'no rclone'; exit 77; }
set -eu
echo "VERSION: $(rclone version | head -n1)"
unset AWS_CA_BUNDLE
export RCLONE_CONFIG_S_TYPE=s3 RCLONE_CONFIG_S_PROVIDER=Other RCLONE_CONFIG_S_ENV_AUTH=true RCLONE_CONFIG_S_ENDPOINT=$S3_ENDPOINT
[ -n "${S3_CA:-}" ] && export RCLONE_CA_CERT=$S3_CA
export RCLONE_CONFIG=/dev/null
at=s:$S3_BUCKET/$PREFIX
mkdir -p tree/sub
cp "$WORK"/f0 "$WORK"/f1 "$WORK"/f65536 "$WORK"/f8388609 "$WORK"/f17825792 "$WORK"/big tree/
cp "$WORK/f65537" 'tree/sub/ü + %20 &'
rclone copy -q tree "$at"
rclone check -q --download tree "$at"
rclone check -q --size-only tree "$at"
rclone sync -q "$at" back && diff -r tree back
rclone cat -q --offset 5 --count 10 "$at/f65536" | cmp - <(tail -c +6 "$WORK/f65536" | head -c 10)
[ "$(rclone lsl -q "$at/big" | awk '{print $1}')" = 209715200 ]
rclone copyto -q "$at/f8388609" "$at/copied" && rclone cat -q "$at/copied" | cmp - "$WORK/f8388609"
rclone rcat -q "$at/piped" <"$WORK/f17825792" && rclone cat -q "$at/piped" | cmp - "$WORK/f17825792"
rclone purge -q "$at"
[ -z "$(rclone lsf -q "$at" 2>/dev/null || true)" ]
