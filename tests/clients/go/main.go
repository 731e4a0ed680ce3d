// The AWS SDK for Go v2 with its defaults and its managers of uploads and downloads.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func check(holds bool, what string) {
	if !holds {
		panic(what)
	}
}

func main() {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if strings.HasSuffix(dep.Path, "service/s3") {
				fmt.Println("VERSION:", dep.Path, dep.Version)
			}
		}
	}
	ctx := context.Background()
	conf := must(config.LoadDefaultConfig(ctx))
	client := s3.NewFromConfig(conf, func(o *s3.Options) {
		o.BaseEndpoint = aws.String(os.Getenv("S3_ENDPOINT"))
		o.UsePathStyle = true
	})
	bucket, prefix, work := aws.String(os.Getenv("S3_BUCKET")), os.Getenv("PREFIX"), os.Getenv("WORK")
	key := func(name string) *string { return aws.String(prefix + "/" + name) }

	for _, name := range []string{"f0", "f1", "f65536", "f8388609"} {
		want := must(os.ReadFile(work + "/" + name))
		must(client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key(name), Body: bytes.NewReader(want),
			ContentType: aws.String("x/y"), Metadata: map[string]string{"a": "b"}}))
		got := must(client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key(name)}))
		check(bytes.Equal(must(io.ReadAll(got.Body)), want), name)
		check(*got.ContentType == "x/y" && got.Metadata["a"] == "b", "metadata")
	}
	for _, name := range []string{"f0", "f65537", "f17825792", "big"} {
		file := must(os.Open(work + "/" + name))
		must(manager.NewUploader(client).Upload(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key(name), Body: file}))
		file.Close()
		size := must(os.Stat(work + "/" + name)).Size()
		head := must(client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key(name)}))
		check(*head.ContentLength == size, "size of "+name)
		buffer := manager.NewWriteAtBuffer(make([]byte, 0, size))
		must(manager.NewDownloader(client).Download(ctx, buffer, &s3.GetObjectInput{Bucket: bucket, Key: key(name)}))
		check(sha256.Sum256(buffer.Bytes()) == sha256.Sum256(must(os.ReadFile(work+"/"+name))), name)
	}
	got := must(client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key("f17825792"), Range: aws.String("bytes=65530-9999999")}))
	check(bytes.Equal(must(io.ReadAll(got.Body)), must(os.ReadFile(work + "/f17825792"))[65530:10000000]), "range")
	must(client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: key("copy"), CopySource: aws.String(*bucket + "/" + *key("f65536"))}))
	must(client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key("odd ü +%"), Body: strings.NewReader("odd")}))
	presigned := must(s3.NewPresignClient(client).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key("odd ü +%")}))
	answer := must(http.Get(presigned.URL))
	check(string(must(io.ReadAll(answer.Body))) == "odd", "presigned")
	_, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key("nothing")})
	var missing *types.NoSuchKey
	check(errors.As(err, &missing), "NoSuchKey")
	_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key("copy"), Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")})
	check(err != nil && strings.Contains(err.Error(), "PreconditionFailed"), "condition")

	var objects []types.ObjectIdentifier
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: key(""), MaxKeys: aws.Int32(3)})
	for pages.HasMorePages() {
		page := must(pages.NextPage(ctx))
		for _, object := range page.Contents {
			if *object.Key == *key("big") {
				check(*object.Size == 209715200, "list")
			}
			objects = append(objects, types.ObjectIdentifier{Key: object.Key})
		}
	}
	check(len(objects) == 9, fmt.Sprint(len(objects), " objects"))
	deleted := must(client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: objects}}))
	check(len(deleted.Errors) == 0, "delete")
}
