// The acceptance tests of Thanos' object stores, with its S3 store at its defaults; beside them an upload of several parts, of
// a length that is known and of one that is not, read back whole and by ranges.
package thanos

import (
	"bytes"
	"context"
	"io"
	"math/rand"
	"os"
	"strings"
	"testing"

	"github.com/go-kit/log"
	"github.com/thanos-io/objstore"
	"github.com/thanos-io/objstore/providers/s3"
)

func config() s3.Config {
	conf := s3.DefaultConfig
	conf.Endpoint = strings.TrimPrefix(os.Getenv("ENDPOINT"), "http://")
	conf.Insecure = true
	return conf
}

func bucket(t *testing.T) objstore.Bucket {
	conf := config()
	conf.Bucket = os.Getenv("BUCKET")
	bucket, err := s3.NewBucketWithConfig(log.NewNopLogger(), conf, "acceptance", nil)
	if err != nil {
		t.Fatal(err)
	}
	return objstore.NewPrefixedBucket(bucket, os.Getenv("PREFIX"))
}

// in a bucket of its own, which is made and deleted
func TestAcceptance(t *testing.T) {
	bucket, done, err := s3.NewTestBucketFromConfig(t, "us-east-1", config(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	objstore.AcceptanceTest(t, bucket)
}

func TestAcceptanceBelowAPrefix(t *testing.T) {
	objstore.AcceptanceTest(t, bucket(t))
}

// hides the length of what it reads
type unknown struct{ io.Reader }

func TestParts(t *testing.T) {
	ctx := context.Background()
	store := bucket(t)
	data := make([]byte, 150_000_001)
	rand.New(rand.NewSource(1)).Read(data)
	copy(data[70_000_000:], strings.Repeat(os.Getenv("MARK"), 1000))
	for name, reader := range map[string]io.Reader{"known": bytes.NewReader(data), "unknown": unknown{bytes.NewReader(data)}} {
		if err := store.Upload(ctx, name, reader); err != nil {
			t.Fatal(name, err)
		}
		for _, part := range [][2]int64{{0, int64(len(data))}, {64<<20 - 10, 100}, {70_000_000, 30_000}, {int64(len(data)) - 5, 5}} {
			body, err := store.GetRange(ctx, name, part[0], part[1])
			if err != nil {
				t.Fatal(name, err)
			}
			got, err := io.ReadAll(body)
			if err != nil || !bytes.Equal(got, data[part[0]:part[0]+part[1]]) {
				t.Fatal(name, part, len(got), err)
			}
			body.Close()
		}
	}
}
