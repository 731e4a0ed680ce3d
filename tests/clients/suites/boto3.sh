command -v python3 >/dev/null || { echo 'no python3'; exit 77; }
python3 -c 'import boto3' 2>/dev/null || { echo 'no boto3'; exit 77; }
exec python3 "$(dirname "$0")/boto3_suite.py"
