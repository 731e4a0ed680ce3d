import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import software.amazon.awssdk.core.async.AsyncRequestBody;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.*;
import software.amazon.awssdk.transfer.s3.S3TransferManager;
import software.amazon.awssdk.transfer.s3.model.*;

/** The AWS SDK for Java v2 with its defaults, and its transfer manager over the multipart client. */
public class Suite {
  static void check(boolean holds, String what) {
    if (!holds) throw new AssertionError(what);
  }

  public static void main(String[] args) throws Exception {
    System.out.println("VERSION: software.amazon.awssdk:s3 " + software.amazon.awssdk.core.util.VersionInfo.SDK_VERSION);
    URI endpoint = URI.create(System.getenv("S3_ENDPOINT"));
    Region region = Region.of(System.getenv("S3_REGION"));
    String bucket = System.getenv("S3_BUCKET"), prefix = System.getenv("PREFIX");
    Path work = Path.of(System.getenv("WORK"));
    try (S3Client s3 = S3Client.builder().endpointOverride(endpoint).region(region).forcePathStyle(true).build();
        S3AsyncClient async = S3AsyncClient.builder().endpointOverride(endpoint).region(region).forcePathStyle(true).multipartEnabled(true).build();
        S3TransferManager manager = S3TransferManager.builder().s3Client(async).build()) {
      for (String name : List.of("f0", "f1", "f65536", "f8388609")) {
        Path file = work.resolve(name);
        String key = prefix + "/" + name;
        s3.putObject(b -> b.bucket(bucket).key(key).contentType("x/y").metadata(Map.of("a", "b")), RequestBody.fromFile(file));
        var got = s3.getObjectAsBytes(b -> b.bucket(bucket).key(key));
        check(Arrays.equals(got.asByteArray(), Files.readAllBytes(file)), name);
        check(got.response().contentType().equals("x/y") && got.response().metadata().get("a").equals("b"), "metadata");
      }
      for (String name : List.of("f65537", "f17825792", "big")) {
        Path file = work.resolve(name), back = Files.createTempFile("back", null);
        String key = prefix + "/tm/" + name;
        manager.uploadFile(UploadFileRequest.builder().source(file).putObjectRequest(b -> b.bucket(bucket).key(key)).build()).completionFuture().join();
        check(s3.headObject(b -> b.bucket(bucket).key(key)).contentLength() == Files.size(file), "size of " + name);
        manager.downloadFile(DownloadFileRequest.builder().destination(back).getObjectRequest(b -> b.bucket(bucket).key(key)).build()).completionFuture().join();
        check(Files.mismatch(file, back) == -1, name);
        Files.delete(back);
        manager.copy(CopyRequest.builder().copyObjectRequest(b -> b.sourceBucket(bucket).sourceKey(key).destinationBucket(bucket).destinationKey(key + " copied")).build()).completionFuture().join();
        check(s3.headObject(b -> b.bucket(bucket).key(key + " copied")).contentLength() == Files.size(file), "copy of " + name);
      }
      String ranged = prefix + "/tm/f17825792";
      byte[] whole = Files.readAllBytes(work.resolve("f17825792"));
      byte[] range = s3.getObjectAsBytes(b -> b.bucket(bucket).key(ranged).range("bytes=65530-9999999")).asByteArray();
      check(Arrays.equals(range, Arrays.copyOfRange(whole, 65530, 10000000)), "range");
      async.putObject(b -> b.bucket(bucket).key(prefix + "/odd ü +%"), AsyncRequestBody.fromString("odd")).join();
      check(s3.getObjectAsBytes(b -> b.bucket(bucket).key(prefix + "/odd ü +%")).asUtf8String().equals("odd"), "odd key");
      try {
        s3.getObjectAsBytes(b -> b.bucket(bucket).key(prefix + "/nothing"));
        check(false, "not refused");
      } catch (NoSuchKeyException expected) {
      }
      try {
        s3.putObject(b -> b.bucket(bucket).key(prefix + "/f1").ifNoneMatch("*"), RequestBody.fromString("x"));
        check(false, "not refused");
      } catch (S3Exception expected) {
        check(expected.statusCode() == 412, "condition");
      }
      var objects = s3.listObjectsV2Paginator(b -> b.bucket(bucket).prefix(prefix + "/").maxKeys(3)).contents().stream().toList();
      check(objects.size() == 11, objects.size() + " objects");
      check(objects.stream().anyMatch(o -> o.key().endsWith("tm/big") && o.size() == 209715200L), "list");
      var ids = objects.stream().map(o -> ObjectIdentifier.builder().key(o.key()).build()).toList();
      check(s3.deleteObjects(b -> b.bucket(bucket).delete(d -> d.objects(ids))).errors().isEmpty(), "delete");
    }
  }
}
