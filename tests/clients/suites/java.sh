[ -d "$CLIENTS/java/lib" ] || { echo 'no AWS SDK for Java (tests/clients/install)'; exit 77; }
options=()
if [ -n "${S3_CA:-}" ]; then
  store=$WORK/java/trust
  keytool -importcert -noprompt -alias ca -file "$S3_CA" -keystore "$store" -storepass changeit >/dev/null 2>&1
  options=(-Djavax.net.ssl.trustStore="$store" -Djavax.net.ssl.trustStorePassword=changeit)
fi
exec java "${options[@]}" -cp "$CLIENTS/java/classes:$CLIENTS/java/lib/*" Suite
