python3 -c 'import minio' 2>/dev/null || { echo 'no minio for Python'; exit 77; }
exec python3 - <<'P'
import io, os, urllib3, hashlib
import minio
from minio import Minio
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject
print("VERSION: minio", minio.__version__)
url = os.environ["S3_ENDPOINT"]
bucket, prefix, work = (os.environ[k] for k in ("S3_BUCKET", "PREFIX", "WORK"))
pool = urllib3.PoolManager(ca_certs=os.environ["S3_CA"]) if url.startswith("https") else None
client = Minio(url.split("://")[1], access_key=os.environ["S3_ACCESS_KEY"], secret_key=os.environ["S3_SECRET_KEY"], secure=url.startswith("https"), http_client=pool)
assert client.bucket_exists(bucket)
for name in ("f0", "f1", "f65536", "f8388609", "f17825792", "big"):
    client.fput_object(bucket, f"{prefix}/{name}", f"{work}/{name}", content_type="x/y", metadata={"a": "b"})
    answer = client.get_object(bucket, f"{prefix}/{name}")
    digest = hashlib.sha256()
    for piece in answer.stream(1 << 20):
        digest.update(piece)
    answer.release_conn()
    assert digest.digest() == hashlib.sha256(open(f"{work}/{name}", "rb").read()).digest(), name
    stat = client.stat_object(bucket, f"{prefix}/{name}")
    assert stat.size == os.path.getsize(f"{work}/{name}") and stat.content_type == "x/y" and stat.metadata["x-amz-meta-a"] == "b"
client.put_object(bucket, f"{prefix}/stream ü+", io.BytesIO(b"s" * 7_000_000), length=-1, part_size=5 << 20)
assert len(client.get_object(bucket, f"{prefix}/stream ü+").read()) == 7_000_000
assert client.get_object(bucket, f"{prefix}/f65536", offset=100, length=50).read() == open(f"{work}/f65536", "rb").read()[100:150]
client.copy_object(bucket, f"{prefix}/copy", CopySource(bucket, f"{prefix}/f65536"))
names = [o.object_name for o in client.list_objects(bucket, prefix + "/", recursive=True)]
assert len(names) == 8, names
errors = list(client.remove_objects(bucket, [DeleteObject(name) for name in names]))
assert not errors, errors
assert not list(client.list_objects(bucket, prefix + "/", recursive=True))
P
