"""boto3 with its defaults, and its transfer manager with 16 threads."""
import base64, hashlib, io, os, random, urllib.request, ssl
import boto3, botocore
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

print("VERSION: boto3", boto3.__version__)
ENDPOINT, BUCKET, PREFIX, WORK = (os.environ[k] for k in ("S3_ENDPOINT", "S3_BUCKET", "PREFIX", "WORK"))
s3 = boto3.client("s3", endpoint_url=ENDPOINT)
key = lambda name: f"{PREFIX}/{name}"


def refused(call, *codes):
    try:
        call()
    except ClientError as error:
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert code in codes or str(status) in codes, (code, status, codes)
        return
    raise AssertionError(f"not refused with {codes}")


sizes = [0, 1, 65535, 65536, 65537, 5242880, 8388609, 17825792]
for config in (TransferConfig(), TransferConfig(max_concurrency=16, multipart_chunksize=5 << 20)):
    for size in sizes:
        name, path = key(f"f{size}"), f"{WORK}/f{size}"
        s3.upload_file(path, BUCKET, name, Config=config, ExtraArgs={"ContentType": "text/x-test", "Metadata": {"colour": "red", "name": "f"}})
        out = io.BytesIO()
        s3.download_fileobj(BUCKET, name, out, Config=config)
        want = open(path, "rb").read()
        assert out.getvalue() == want, size
        head = s3.head_object(Bucket=BUCKET, Key=name)
        assert (head["ContentLength"], head["ContentType"], head["Metadata"]) == (size, "text/x-test", {"colour": "red", "name": "f"})
    s3.upload_file(f"{WORK}/big", BUCKET, key("big"), Config=config)
    digest = hashlib.sha256()
    for chunk in s3.get_object(Bucket=BUCKET, Key=key("big"))["Body"].iter_chunks(1 << 20):
        digest.update(chunk)
    assert digest.digest() == hashlib.sha256(open(f"{WORK}/big", "rb").read()).digest()

# ranges
want = open(f"{WORK}/f17825792", "rb").read()
for _ in range(60):
    a = random.randrange(len(want)); b = min(len(want) - 1, a + random.randrange(1, 300000))
    got = s3.get_object(Bucket=BUCKET, Key=key("f17825792"), Range=f"bytes={a}-{b}")
    assert got["Body"].read() == want[a:b + 1] and got["ContentRange"] == f"bytes {a}-{b}/{len(want)}"
assert s3.get_object(Bucket=BUCKET, Key=key("f65537"), Range="bytes=-10")["Body"].read() == open(f"{WORK}/f65537", "rb").read()[-10:]
refused(lambda: s3.get_object(Bucket=BUCKET, Key=key("f1"), Range="bytes=5-"), "InvalidRange")

# lists: sizes exact, pages, delimiters
listed = {}
for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PREFIX + "/", PaginationConfig={"PageSize": 3}):
    for entry in page.get("Contents", []):
        listed[entry["Key"]] = entry["Size"]
assert all(listed[key(f"f{size}")] == size for size in sizes) and listed[key("big")] == 209715200, listed
v1 = [o["Key"] for page in s3.get_paginator("list_objects").paginate(Bucket=BUCKET, Prefix=PREFIX + "/", PaginationConfig={"PageSize": 2}) for o in page["Contents"]]
assert v1 == sorted(listed), v1
s3.put_object(Bucket=BUCKET, Key=key("dir/a/b"), Body=b"x")
common = s3.list_objects_v2(Bucket=BUCKET, Prefix=PREFIX + "/", Delimiter="/").get("CommonPrefixes")
assert common == [{"Prefix": key("dir/")}], common

# odd keys
odd = ["a b", "a+b", "a%20b", "ünï/😀", "q?x=1&y=2", "x//y", "trailing/", "'\"<>&", "k" * (1000 - len(PREFIX))]
for name in odd:
    s3.put_object(Bucket=BUCKET, Key=key(name), Body=name.encode())
    assert s3.get_object(Bucket=BUCKET, Key=key(name))["Body"].read() == name.encode(), name
names = {o["Key"] for p in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PREFIX + "/") for o in p["Contents"]}
assert {key(name) for name in odd} <= names

# copies, small and multipart
for source in ("f65537", "f17825792"):
    s3.copy({"Bucket": BUCKET, "Key": key(source)}, BUCKET, key("copy of +" + source), Config=TransferConfig(multipart_threshold=8 << 20))
    assert s3.get_object(Bucket=BUCKET, Key=key("copy of +" + source))["Body"].read() == open(f"{WORK}/{source}", "rb").read()
s3.copy_object(Bucket=BUCKET, Key=key("f1"), CopySource={"Bucket": BUCKET, "Key": key("f1")}, MetadataDirective="REPLACE", Metadata={"new": "1"})
assert s3.head_object(Bucket=BUCKET, Key=key("f1"))["Metadata"] == {"new": "1"}

# conditions
etag = s3.put_object(Bucket=BUCKET, Key=key("cond"), Body=b"1")["ETag"]
assert "-" in etag
refused(lambda: s3.put_object(Bucket=BUCKET, Key=key("cond"), Body=b"2", IfNoneMatch="*"), "PreconditionFailed")
refused(lambda: s3.get_object(Bucket=BUCKET, Key=key("cond"), IfNoneMatch=etag), "304")
refused(lambda: s3.get_object(Bucket=BUCKET, Key=key("cond"), IfMatch='"nothing-1"'), "PreconditionFailed")
assert s3.get_object(Bucket=BUCKET, Key=key("cond"), IfMatch=etag)["Body"].read() == b"1"

# checksums: every algorithm that boto3 knows, verified on the way in
for algorithm in ("CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"):
    try:
        s3.put_object(Bucket=BUCKET, Key=key("sum"), Body=b"some text", ChecksumAlgorithm=algorithm)
    except botocore.exceptions.MissingDependencyException:
        continue
    assert s3.get_object(Bucket=BUCKET, Key=key("sum"))["Body"].read() == b"some text"
refused(lambda: s3.put_object(Bucket=BUCKET, Key=key("sum"), Body=b"x", ContentMD5=base64.b64encode(b"0" * 16).decode()), "BadDigest")

# presigned; links of a client that is not told how to sign them have Signature Version 2, which the gateway before Ceph takes
context = ssl.create_default_context(cafile=os.environ.get("S3_CA")) if ENDPOINT.startswith("https") else None
for config in [Config(signature_version="s3v4")] + ([None] if os.environ.get("STORE") == "ceph" else []):
    signed = boto3.client("s3", endpoint_url=ENDPOINT, config=config)
    url = signed.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": key("presigned ü")})
    assert ("X-Amz-Signature" in url) == (config is not None), url
    urllib.request.urlopen(urllib.request.Request(url, data=b"by url", method="PUT", headers={"content-type": ""}), context=context).read()
    url = signed.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key("presigned ü"), "ResponseContentType": "a/b"})
    answer = urllib.request.urlopen(url, context=context)
    assert answer.read() == b"by url" and answer.headers["content-type"] == "a/b"
    s3.delete_object(Bucket=BUCKET, Key=key("presigned ü"))

# errors
refused(lambda: s3.get_object(Bucket=BUCKET, Key=key("nothing")), "NoSuchKey")
wrong = boto3.client("s3", endpoint_url=ENDPOINT, aws_access_key_id=os.environ["S3_ACCESS_KEY"], aws_secret_access_key="wrong")
refused(lambda: wrong.list_objects_v2(Bucket=BUCKET), "SignatureDoesNotMatch")
upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key("aborted"))["UploadId"]
s3.upload_part(Bucket=BUCKET, Key=key("aborted"), UploadId=upload, PartNumber=1, Body=b"x")
assert [p["Size"] for p in s3.list_parts(Bucket=BUCKET, Key=key("aborted"), UploadId=upload)["Parts"]] == [1]
assert any(u["UploadId"] == upload for u in s3.list_multipart_uploads(Bucket=BUCKET, Prefix=PREFIX)["Uploads"])
s3.abort_multipart_upload(Bucket=BUCKET, Key=key("aborted"), UploadId=upload)
refused(lambda: s3.list_parts(Bucket=BUCKET, Key=key("aborted"), UploadId=upload), "NoSuchUpload")

# delete many
for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PREFIX + "/"):
    objects = [{"Key": o["Key"]} for o in page.get("Contents", [])]
    answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": objects})
    assert len(answer["Deleted"]) == len(objects) and "Errors" not in answer
assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix=PREFIX + "/")
