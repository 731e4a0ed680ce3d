#!/usr/bin/env python3
"""Writes botocore.json: requests as botocore signs them, with each stage. Needs botocore; run from anywhere.

The secrets are those of AWS's documentation.
"""
import datetime
import json
import os
from unittest import mock

import botocore.auth
import botocore.compat
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import percent_encode

NOW = datetime.datetime(2013, 5, 24, 0, 0, 0)
HOST = "examplebucket.s3.amazonaws.com"
CREDENTIALS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")

KEYS = {
    "plain key": "test.txt",
    "spaces": "a b  c.txt",
    "plus and percent": "a+b%20c%.txt",
    "unicode": "grüße/日本/🔑",
    "double slash": "a//b///c",
    "dots": "../a/./b/..",
    "leading slash": "/a",
    "trailing slash": "dir/",
    "tilde and friends": "~-._!*'()$&,:;=@",
    "question mark and hash": "a?b#c",
    "backslash quote angle": "a\\b\"c<d>e",
    "control characters": "a\x01b\tc\nd",
}
QUERIES = {
    "sub-resource": [("acl", "")],
    "list": [("list-type", "2"), ("prefix", "a b/ü"), ("delimiter", "/"), ("max-keys", "2")],
    "repeated names": [("b", "2"), ("b", "1"), ("a", "")],
    "odd order": [("a-b", "1"), ("a", "2"), ("ü", "3"), ("~", "4"), ("A", "5")],
    "plus in a value": [("prefix", "a+b=c&d%")],
}
HEADERS = {
    "folded spaces": [("x-amz-meta-a", "  one   two  ")],
    "repeated header": [("x-amz-meta-a", "one"), ("x-amz-meta-a", "two")],
    "empty header": [("x-amz-meta-a", "")],
    "many": [("Content-Type", "text/plain"), ("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg=="), ("Range", "bytes=0-9"),
             ("x-amz-storage-class", "STANDARD_IA"), ("x-amz-acl", "private"), ("If-Match", '"abc"')],
}
PAYLOADS = ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]


def quote_query(pairs):
    return "&".join(percent_encode(n, safe="-._~") + "=" + percent_encode(v, safe="-._~") for n, v in pairs)


def case(name, method="GET", key="test.txt", query=(), headers=(), payload="UNSIGNED-PAYLOAD", expires=None, region="us-east-1"):
    path = "/" + percent_encode(key, safe="/~")
    raw_query = quote_query(query)
    request = AWSRequest(method=method, url=f"https://{HOST}{path}" + ("?" + raw_query if raw_query else ""))
    for field, value in headers:
        request.headers.add_header(field, value)
    stages = {}

    class Recorder(S3SigV4QueryAuth if expires else S3SigV4Auth):
        def canonical_request(self, request):
            stages["canonical_request"] = super().canonical_request(request)
            return stages["canonical_request"]

        def string_to_sign(self, request, canonical_request):
            stages["string_to_sign"] = super().string_to_sign(request, canonical_request)
            return stages["string_to_sign"]

        def signature(self, string_to_sign, request):
            stages["signature"] = super().signature(string_to_sign, request)
            return stages["signature"]

        def payload(self, request):
            return payload

    with mock.patch("botocore.auth.get_current_datetime", return_value=NOW):
        if expires:
            Recorder(CREDENTIALS, "s3", region, expires=expires).add_auth(request)
        else:
            request.headers["X-Amz-Content-SHA256"] = payload
            Recorder(CREDENTIALS, "s3", region).add_auth(request)
    _, _, rest = request.url.partition(HOST)
    path, _, raw_query = rest.partition("?")
    fields = [["host", HOST]] + [[n, v] for n, v in request.headers.items()]
    if not expires and "X-Amz-Content-SHA256" in request.headers:
        fields = [f for f in fields if f[0] != "X-Amz-Content-SHA256"] + [["X-Amz-Content-SHA256", payload]]
    return {"name": name, "method": method, "path": path, "query": raw_query, "headers": fields, "region": region, **stages}


def main():
    cases = [case(f"key: {n}", key=k) for n, k in KEYS.items()]
    cases += [case(f"presigned key: {n}", method="PUT", key=k, expires=900) for n, k in KEYS.items()]
    cases += [case(f"query: {n}", query=q) for n, q in QUERIES.items()]
    cases += [case(f"presigned query: {n}", query=q, expires=604800) for n, q in QUERIES.items()]
    cases += [case(f"headers: {n}", method="PUT", headers=h) for n, h in HEADERS.items()]
    cases += [case(f"presigned headers: {n}", method="PUT", headers=h, expires=1) for n, h in HEADERS.items()]
    cases += [case(f"payload: {p}", method="PUT", payload=p) for p in PAYLOADS]
    cases += [case(f"method: {m}", method=m, region="eu-central-1") for m in ["HEAD", "POST", "DELETE"]]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "botocore.json")
    with open(path, "w") as out:
        json.dump({"time": "20130524T000000Z", "cases": cases}, out, indent=1, ensure_ascii=True)
        out.write("\n")


main()
