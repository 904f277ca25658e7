package objstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// s3Batch is how many objects one request may delete.
const s3Batch = 1000

// s3Store is a [Store] on S3 by aws-sdk-go-v2.
type s3Store struct {
	place
	c *s3.Client
}

// openS3 opens s3://bucket/prefix?region=…&endpoint=…&path_style=….
func openS3(ctx context.Context, u *url.URL, opts Options) (*s3Store, error) {
	params, err := query(u, "region", "endpoint", "path_style")
	if err != nil {
		return nil, err
	}
	p, err := newPlace(u.Host, u.Path, u.String())
	if err != nil {
		return nil, err
	}
	endpoint := params["endpoint"]
	if endpoint != "" && !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	if eu, err := url.Parse(endpoint); err != nil || eu.User != nil || endpoint != "" && eu.Host == "" {
		return nil, invalid("object store s3://%s: the endpoint is not a URL without credentials", u.Host)
	}
	pathStyle, err := flag(params, "path_style", endpoint != "")
	if err != nil {
		return nil, err
	}
	// The SDK's own client, because it alone can take over AWS_CA_BUNDLE.
	httpClient := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { tuneTransport(t, opts) })
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(httpClient),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = opts.MaxAttempts, time.Second })
		}),
	}
	if region := params["region"]; region != "" {
		load = append(load, config.WithRegion(region))
	} else if endpoint != "" {
		load = append(load, config.WithDefaultRegion("us-east-1"))
	}
	if opts.AccessKey != "" {
		load = append(load, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(opts.AccessKey, opts.SecretKey, opts.SessionToken)))
	}
	load = append(load, config.WithLogger(logging.Nop{})) // else the SDK writes to standard error
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, opError("open", p.url, "", fmt.Errorf("%w: %w", ErrFatal, err))
	}
	c := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = pathStyle
		if endpoint != "" { // servers other than Amazon's may not know the newer checksums
			o.BaseEndpoint = aws.String(endpoint)
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		}
	})
	return &s3Store{place: p, c: c}, nil
}

// fault names the operation and gives the error a class.
func (s *s3Store) fault(op, key string, err error) error {
	if Class(err) == nil {
		class, code, status := classifyLocal(err), "", 0
		if api, ok := errors.AsType[smithy.APIError](err); ok {
			code = api.ErrorCode()
		}
		if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
			status = resp.HTTPStatusCode()
		}
		if c := classifyHTTP(code, status); c != nil {
			class = c
		}
		err = fmt.Errorf("%w: %w", class, err)
	}
	return opError(op, s.url, key, err)
}

func (s *s3Store) key(key string) *string { return aws.String(s.prefix + key) }

// Put implements [Store].
func (s *s3Store) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts PutOptions) error {
	err := checkPut(key, r, size)
	if err == nil {
		in := &s3.PutObjectInput{Bucket: &s.bucket, Key: s.key(key), Body: r, ContentLength: &size}
		if opts.IfNoneMatch {
			in.IfNoneMatch = aws.String("*")
		}
		_, err = s.c.PutObject(ctx, in)
	}
	if err != nil {
		return s.fault("put", key, err)
	}
	return nil
}

// Get implements [Store].
func (s *s3Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := checkGet(key, off); err != nil {
		return nil, s.fault("get", key, err)
	}
	if n == 0 { // no HTTP range is empty
		_, err := s.Head(ctx, key)
		return io.NopCloser(bytes.NewReader(nil)), err
	}
	in := &s3.GetObjectInput{Bucket: &s.bucket, Key: s.key(key)}
	switch {
	case n > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	case off > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", off))
	}
	out, err := s.c.GetObject(ctx, in)
	if err != nil {
		if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "InvalidRange" {
			return io.NopCloser(bytes.NewReader(nil)), nil
		}
		return nil, s.fault("get", key, err)
	}
	return classReader{out.Body, func(err error) error { return s.fault("read", key, err) }}, nil
}

// Head implements [Store].
func (s *s3Store) Head(ctx context.Context, key string) (Info, error) {
	err := checkGet(key, 0)
	var out *s3.HeadObjectOutput
	if err == nil {
		out, err = s.c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: s.key(key)})
	}
	if err != nil {
		return Info{}, s.fault("head", key, err)
	}
	return Info{Key: key, Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified)}, nil
}

// List implements [Store].
func (s *s3Store) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		pages := s3.NewListObjectsV2Paginator(s.c, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: s.key(prefix)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(Info{}, s.fault("list", prefix, err))
				return
			}
			for _, o := range page.Contents {
				info := Info{Key: strings.TrimPrefix(aws.ToString(o.Key), s.prefix), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)}
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// Delete implements [Store].
func (s *s3Store) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := ValidateKey(key); err != nil {
			return s.fault("delete", key, err)
		}
	}
	if len(keys) == 1 {
		if _, err := s.c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: s.key(keys[0])}); err != nil {
			return s.fault("delete", keys[0], err)
		}
		return nil
	}
	for batch := range slices.Chunk(keys, s3Batch) {
		ids := make([]types.ObjectIdentifier, len(batch))
		for i, key := range batch {
			ids[i].Key = s.key(key)
		}
		out, err := s.c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &s.bucket, Delete: &types.Delete{Objects: ids, Quiet: aws.Bool(true)}})
		if err != nil {
			return s.fault("delete", batch[0], err)
		}
		for _, e := range out.Errors {
			class := classifyHTTP(aws.ToString(e.Code), 0)
			if class == nil {
				class = ErrFatal
			}
			if !errors.Is(class, ErrNotFound) {
				return s.fault("delete", strings.TrimPrefix(aws.ToString(e.Key), s.prefix), fmt.Errorf("%w: %s: %s", class, aws.ToString(e.Code), aws.ToString(e.Message)))
			}
		}
	}
	return nil
}

// Check implements [Store].
func (s *s3Store) Check(ctx context.Context) error { return check(ctx, s) }

// URL implements [Store].
func (s *s3Store) URL() string { return s.url }

// Close implements [Store]. Idle connections close by themselves.
func (*s3Store) Close() error { return nil }
