"""A plugin of pytest: the forms that ceph/s3-tests signs by Signature Version 2 go out signed by Version 4.

The suite signs every form by Version 2, which Amazon S3 has ended and the gateway refuses; what its tests are about is the
policy. So each form is signed again, for the store and for the gateway alike: the conditions of Version 4's own fields are put
into the policy, a signature that was right stays right, one that was wrong or missing stays so.
"""

import base64
import configparser
import datetime
import hashlib
import hmac
import json
import os

import requests

SENT = requests.post
REGION = os.environ.get("AWS_DEFAULT_REGION", "us-east-1")


def secret_of(access_key):
    config = configparser.RawConfigParser()
    config.read(os.environ["S3TEST_CONF"])
    for section in config.sections():
        if config[section].get("access_key") == access_key:
            return config[section]["secret_key"]
    return "nobody's"


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def chain(key, *texts):
    for each in texts:
        key = hmac.new(key, each.encode(), hashlib.sha256).digest()
    return key


def by_version_4(form):
    fields = {name.lower(): value for name, value in form.items()}
    if "awsaccesskeyid" not in fields or "policy" not in fields:
        return form
    access_key, policy = text(fields["awsaccesskeyid"]), text(fields["policy"])
    secret = secret_of(access_key)
    right = base64.b64encode(hmac.new(secret.encode(), policy.encode(), hashlib.sha1).digest()).decode()
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    own = {
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{access_key}/{now[:8]}/{REGION}/s3/aws4_request",
        "x-amz-date": now,
    }
    try:
        document = json.loads(base64.b64decode(policy))
        if isinstance(document.get("conditions"), list):
            document["conditions"] += [{name: value} for name, value in own.items()]
            policy = base64.b64encode(json.dumps(document).encode()).decode()
    except ValueError:
        pass  # what is no policy stays none
    key = chain(f"AWS4{secret}".encode(), now[:8], REGION, "s3", "aws4_request")
    signature = hmac.new(key, policy.encode(), hashlib.sha256).hexdigest()
    if "signature" in fields and text(fields["signature"]) != right:
        signature = signature[::-1]
    signed = {}
    for name, value in form.items():
        if name.lower() == "awsaccesskeyid":
            signed.update(own)
        elif name.lower() == "policy":
            signed[name] = policy
        elif name.lower() == "signature":
            signed["x-amz-signature"] = signature
        else:
            signed[name] = value
    return signed


def post(url, *args, files=None, **kwargs):
    return SENT(url, *args, files=by_version_4(files) if files else files, **kwargs)


requests.post = post
