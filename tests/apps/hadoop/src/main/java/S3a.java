// Hadoop's S3A at its defaults but for the size of parts: the commands of `hadoop fs`, renames, reads at places of a file, and
// a job's output by the magic committer, whose uploads are completed when the job commits.

import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileAlreadyExistsException;
import org.apache.hadoop.fs.FileRange;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.FsShell;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.OutputCommitter;
import org.apache.hadoop.mapreduce.RecordWriter;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.hadoop.mapreduce.TaskAttemptID;
import org.apache.hadoop.mapreduce.TaskID;
import org.apache.hadoop.mapreduce.TaskType;
import org.apache.hadoop.mapreduce.lib.output.FileOutputFormat;
import org.apache.hadoop.mapreduce.lib.output.TextOutputFormat;
import org.apache.hadoop.mapreduce.task.TaskAttemptContextImpl;
import org.apache.hadoop.util.ToolRunner;
import org.apache.hadoop.util.VersionInfo;

public class S3a {
    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    static void shell(Configuration conf, String... words) throws Exception {
        check(ToolRunner.run(conf, new FsShell(), words) == 0, String.join(" ", words));
    }

    public static void main(String[] args) throws Exception {
        System.out.println("VERSION: Hadoop " + VersionInfo.getVersion());
        String tree = System.getenv("WORK") + "/tree", mark = System.getenv("MARK");
        Configuration conf = new Configuration();
        conf.set("fs.s3a.endpoint", System.getenv("ENDPOINT"));
        conf.set("fs.s3a.endpoint.region", "us-east-1");
        conf.set("fs.s3a.path.style.access", "true");
        conf.set("fs.s3a.multipart.size", "5M");
        conf.set("fs.s3a.multipart.threshold", "5M");
        conf.set("hadoop.tmp.dir", Files.createDirectory(java.nio.file.Path.of("tmp")).toAbsolutePath().toString());
        Path at = new Path("s3a://" + System.getenv("BUCKET") + "/" + System.getenv("PREFIX"));
        conf.set("fs.defaultFS", at.toString());
        FileSystem fs = at.getFileSystem(conf);

        shell(conf, "-mkdir", "-p", at + "/a/deep");
        shell(conf, "-put", tree, at + "/a");
        shell(conf, "-mv", at + "/a", at + "/b");
        shell(conf, "-cp", at + "/b/tree/f1", at + "/b/deep/copy");
        shell(conf, "-ls", "-R", at.toString());
        shell(conf, "-get", at + "/b/tree", "back");
        check(!fs.exists(new Path(at, "a")) && fs.getFileStatus(new Path(at, "b/deep")).isDirectory(), "renamed");
        shell(conf, "-checksum", at + "/b/tree/f3");

        // reads at places of a file, one after the other and many at once
        byte[] data = Files.readAllBytes(java.nio.file.Path.of(tree, "f3"));
        Random random = new Random(1);
        try (FSDataInputStream in = fs.open(new Path(at, "b/tree/f3"))) {
            for (int n = 0; n < 50; n++) {
                int length = 1 + random.nextInt(300_000), from = random.nextInt(data.length - length);
                byte[] got = new byte[length];
                if (n % 2 == 0) {
                    in.seek(from);
                    in.readFully(got);
                } else {
                    in.readFully(from, got);
                }
                check(Arrays.equals(got, Arrays.copyOfRange(data, from, from + length)), "read at " + from);
            }
            List<FileRange> ranges = new ArrayList<>();
            for (int n = 0; n < 20; n++) ranges.add(FileRange.createFileRange(n * 1_000_000L + 7, 1 + random.nextInt(400_000)));
            in.readVectored(ranges, ByteBuffer::allocate);
            for (FileRange range : ranges) {
                ByteBuffer want = ByteBuffer.wrap(data, (int) range.getOffset(), range.getLength());
                check(range.getData().get(60, TimeUnit.SECONDS).equals(want), "range at " + range.getOffset());
            }
        }

        // a file is not made twice; one that is replaced; one whose writer gave up
        Path file = new Path(at, "file");
        try (FSDataOutputStream out = fs.create(file, false)) { out.write(data, 0, 11_000_000); }
        try {
            fs.create(file, false).close();
            throw new AssertionError("made twice");
        } catch (FileAlreadyExistsException expected) { }
        try (FSDataOutputStream out = fs.create(file, true)) { out.write(data, 5, 12_000_000); }
        try (InputStream in = fs.open(file)) {
            check(Arrays.equals(in.readAllBytes(), Arrays.copyOfRange(data, 5, 12_000_005)), "replaced");
        }
        FSDataOutputStream abandoned = fs.create(new Path(at, "abandoned"));
        abandoned.write(data, 0, 11_000_000);
        abandoned.abort();
        abandoned.close();
        check(!fs.exists(new Path(at, "abandoned")), "abandoned");

        // more files than one delete takes
        for (int n = 0; n < 1100; n++) fs.create(new Path(at, "many/" + n)).close();
        check(fs.listStatus(new Path(at, "many")).length == 1100, "many");
        check(fs.delete(new Path(at, "many"), true) && !fs.exists(new Path(at, "many")), "deleted");

        output(conf, fs, new Path(at, "output"), mark);
        shell(conf, "-rm", "-r", "-skipTrash", at + "/b/deep");
        check(fs.listStatus(new Path(at, "b")).length == 1, "removed");
        fs.close();
    }

    // three tasks, of which one fails after it wrote: its rows are not in the output
    static void output(Configuration conf, FileSystem fs, Path to, String mark) throws Exception {
        Job job = Job.getInstance(conf);
        job.getConfiguration().set("fs.s3a.committer.name", "magic");
        job.getConfiguration().set("mapreduce.outputcommitter.factory.scheme.s3a",
            "org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory");
        FileOutputFormat.setOutputPath(job, to);
        String jt = "20260101";
        job.setJobID(new org.apache.hadoop.mapreduce.JobID(jt, 1));
        OutputCommitter whole = null;
        TaskAttemptContext first = null;
        for (int task = 0; task < 3; task++) {
            TaskAttemptID id = new TaskAttemptID(new TaskID(jt, 1, TaskType.REDUCE, task), 0);
            TaskAttemptContext context = new TaskAttemptContextImpl(job.getConfiguration(), id);
            TextOutputFormat<Text, Text> format = new TextOutputFormat<>();
            OutputCommitter committer = format.getOutputCommitter(context);
            if (whole == null) {
                whole = committer;
                first = context;
                System.out.println(committer);
                committer.setupJob(context);
            }
            committer.setupTask(context);
            RecordWriter<Text, Text> writer = format.getRecordWriter(context);
            for (int n = 0; n < 200_000; n++) writer.write(new Text(task + "-" + n), new Text(mark));
            writer.close(context);
            if (task == 1) committer.abortTask(context); else committer.commitTask(context);
        }
        check(fs.listStatus(to, path -> path.getName().startsWith("part-")).length == 0, "there before the job commits");
        whole.commitJob(first);
        int lines = 0;
        for (FileStatus status : fs.listStatus(to, path -> path.getName().startsWith("part-"))) {
            String task = status.getPath().getName().equals("part-r-00000") ? "0" : "2";
            try (InputStream in = fs.open(status.getPath())) {
                String[] text = new String(in.readAllBytes(), StandardCharsets.UTF_8).split("\n");
                for (int n = 0; n < text.length; n++) check(text[n].equals(task + "-" + n + "\t" + mark), "line " + text[n]);
                lines += text.length;
            }
        }
        check(lines == 400_000 && fs.exists(new Path(to, "_SUCCESS")), lines + " lines");
    }
}
