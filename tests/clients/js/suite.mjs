// The AWS SDK for JavaScript with its defaults: buffers, streams, its Upload.
import { createReadStream, readFileSync, statSync } from "node:fs";
import { createHash } from "node:crypto";
import { CopyObjectCommand, DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const { S3_ENDPOINT: endpoint, S3_BUCKET: Bucket, PREFIX: prefix, WORK: work, S3_REGION: region } = process.env;
const client = new S3Client({ endpoint, region, forcePathStyle: true });
const key = (name) => `${prefix}/${name}`;
const same = (a, b, what) => { if (!Buffer.from(a).equals(Buffer.from(b))) throw new Error(`${what} differs`); };
const body = async (answer) => Buffer.from(await answer.Body.transformToByteArray());

for (const name of ["f0", "f1", "f65536", "f8388609"]) {
  const bytes = readFileSync(`${work}/${name}`);
  await client.send(new PutObjectCommand({ Bucket, Key: key(name), Body: bytes, ContentType: "x/y", Metadata: { a: "b" } }));
  const got = await client.send(new GetObjectCommand({ Bucket, Key: key(name) }));
  if (got.ContentType !== "x/y" || got.Metadata.a !== "b") throw new Error("metadata");
  same(await body(got), bytes, name);
  // a stream of known length
  await client.send(new PutObjectCommand({ Bucket, Key: key(`${name} stream`), Body: createReadStream(`${work}/${name}`), ContentLength: statSync(`${work}/${name}`).size }));
  same(await body(await client.send(new GetObjectCommand({ Bucket, Key: key(`${name} stream`) }))), bytes, `${name} stream`);
}
for (const name of ["f17825792", "big"]) {
  await new Upload({ client, params: { Bucket, Key: key(name), Body: createReadStream(`${work}/${name}`) } }).done();
  const hash = createHash("sha256");
  const got = await client.send(new GetObjectCommand({ Bucket, Key: key(name) }));
  for await (const piece of got.Body) hash.update(piece);
  const want = createHash("sha256").update(readFileSync(`${work}/${name}`)).digest("hex");
  if (hash.digest("hex") !== want) throw new Error(`${name} differs`);
  const head = await client.send(new HeadObjectCommand({ Bucket, Key: key(name) }));
  if (head.ContentLength !== statSync(`${work}/${name}`).size) throw new Error("size");
}
const range = await client.send(new GetObjectCommand({ Bucket, Key: key("f17825792"), Range: "bytes=70000-9999999" }));
same(await body(range), readFileSync(`${work}/f17825792`).subarray(70000, 10000000), "range");
await client.send(new CopyObjectCommand({ Bucket, Key: key("copy ü+"), CopySource: encodeURIComponent(`${Bucket}/${key("f65536")}`) }));
same(await body(await client.send(new GetObjectCommand({ Bucket, Key: key("copy ü+") }))), readFileSync(`${work}/f65536`), "copy");
// the SDK would presign the checksum of an empty body, which S3 refuses too
const signer = new S3Client({ endpoint, region, forcePathStyle: true, requestChecksumCalculation: "WHEN_REQUIRED" });
const url = await getSignedUrl(signer, new PutObjectCommand({ Bucket, Key: key("by url") }));
const put = await fetch(url, { method: "PUT", body: "presigned" });
if (put.status !== 200) throw new Error(`presigned put: ${put.status} ${await put.text()}`);
const got = await fetch(await getSignedUrl(client, new GetObjectCommand({ Bucket, Key: key("by url") })));
if ((await got.text()) !== "presigned") throw new Error("presigned get");
try {
  await client.send(new PutObjectCommand({ Bucket, Key: key("by url"), Body: "x", IfNoneMatch: "*" }));
  throw new Error("not refused");
} catch (error) {
  if (error.name !== "PreconditionFailed") throw error;
}
try {
  await client.send(new GetObjectCommand({ Bucket, Key: key("nothing") }));
  throw new Error("not refused");
} catch (error) {
  if (error.name !== "NoSuchKey") throw error;
}
const listed = await client.send(new ListObjectsV2Command({ Bucket, Prefix: `${prefix}/` }));
if (listed.Contents.find((o) => o.Key === key("big")).Size !== 209715200) throw new Error("list");
await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: listed.Contents.map(({ Key }) => ({ Key })) } }));
const left = await client.send(new ListObjectsV2Command({ Bucket, Prefix: `${prefix}/` }));
if (left.KeyCount !== 0) throw new Error("left");
