package objstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// s3Driver is the driver by aws-sdk-go-v2.
type s3Driver struct {
	c          *s3.Client
	bucket     *string
	encryption encryption
}

// openS3 opens s3://bucket/prefix?region=…&endpoint=…&path_style=…&sse=…&kms_key=…&checksum=….
func openS3(ctx context.Context, u *url.URL, opts Options) (*remote, error) {
	params, err := query(u, "region", "endpoint", "path_style", "sse", "kms_key", "checksum")
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
	pathStyle, perr := flag(params, "path_style", endpoint != "")
	enc, eerr := newEncryption(params)
	checksum, cerr := checksums(params)
	if err := errors.Join(perr, eerr, cerr); err != nil {
		return nil, err
	}
	// The SDK's own client, because it alone can take over AWS_CA_BUNDLE.
	httpClient := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { tuneTransport(t, opts) })
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(httpClient),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }), // remote repeats
		config.WithLogger(logging.Nop{}),                                   // else the SDK writes to standard error
	}
	if region := params["region"]; region != "" {
		load = append(load, config.WithRegion(region))
	} else if endpoint != "" {
		load = append(load, config.WithDefaultRegion("us-east-1"))
	}
	if opts.AccessKey != "" {
		load = append(load, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(opts.AccessKey, opts.SecretKey, opts.SessionToken)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, opError("open", p.url, "", fmt.Errorf("%w: %w", ErrFatal, err))
	}
	c := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = pathStyle
		// Bodies bring their CRC32C, and what is read is checked by those who wrote it.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
	return newRemote(p, &s3Driver{c: c, bucket: &p.bucket, encryption: enc}, opts, checksum), nil
}

// classify implements driver.
func (*s3Driver) classify(err error) error {
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
	if _, ok := errors.AsType[*smithy.DeserializationError](err); ok && errors.Is(class, ErrFatal) {
		class = ErrTransient // the answer broke off before its code
	}
	return class
}

// text is nil for an empty string.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// condition is the header If-None-Match.
func (h putHeader) condition() *string {
	if h.ifNoneMatch {
		return aws.String("*")
	}
	return nil
}

// put implements driver.
func (d *s3Driver) put(ctx context.Context, key string, b *body, h putHeader) error {
	_, err := d.c.PutObject(ctx, &s3.PutObjectInput{
		Bucket: d.bucket, Key: &key, Body: b, ContentLength: &b.size, ChecksumCRC32C: text(b.crc), IfNoneMatch: h.condition(), Metadata: map[string]string{writerHeader: h.writer},
		ServerSideEncryption: types.ServerSideEncryption(d.encryption.method), SSEKMSKeyId: text(d.encryption.key),
	})
	return err
}

// get implements driver.
func (d *s3Driver) get(ctx context.Context, key string, off, n int64, ifMatch string) (answer, error) {
	out, err := d.c.GetObject(ctx, &s3.GetObjectInput{Bucket: d.bucket, Key: &key, IfMatch: text(ifMatch), Range: aws.String(ranged(off, n))})
	if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && resp.HTTPStatusCode() == http.StatusRequestedRangeNotSatisfiable {
		return emptyAnswer(), nil
	}
	if err != nil {
		return answer{}, err
	}
	length := int64(-1)
	if out.ContentLength != nil {
		length = *out.ContentLength
	}
	return newAnswer(out.Body, aws.ToString(out.ETag), off, n, aws.ToString(out.ContentRange), length)
}

func emptyAnswer() answer { return answer{ReadCloser: io.NopCloser(bytes.NewReader(nil))} }

// head implements driver.
func (d *s3Driver) head(ctx context.Context, key string) (objectHead, error) {
	out, err := d.c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: d.bucket, Key: &key})
	if err != nil {
		return objectHead{}, err
	}
	return objectHead{Info{Key: key, Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified)}, out.Metadata[writerHeader]}, nil
}

// list implements driver.
func (d *s3Driver) list(ctx context.Context, prefix, after string) (page []Info, more bool, err error) {
	out, err := d.c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: d.bucket, Prefix: text(prefix), StartAfter: text(after)})
	if err != nil {
		return nil, false, err
	}
	for _, o := range out.Contents {
		page = append(page, Info{Key: aws.ToString(o.Key), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)})
	}
	return page, aws.ToBool(out.IsTruncated), nil
}

// remove implements driver.
func (d *s3Driver) remove(ctx context.Context, keys []string) error {
	if len(keys) == 1 {
		_, err := d.c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: d.bucket, Key: &keys[0]})
		return ignoreNotFound(d, err)
	}
	ids := make([]types.ObjectIdentifier, len(keys))
	for i := range keys {
		ids[i].Key = &keys[i]
	}
	out, err := d.c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: d.bucket, Delete: &types.Delete{Objects: ids, Quiet: aws.Bool(true)}})
	if err != nil {
		return err
	}
	for _, e := range out.Errors {
		class := classifyHTTP(aws.ToString(e.Code), 0)
		if class == nil {
			class = ErrFatal
		}
		if !errors.Is(class, ErrNotFound) {
			return fmt.Errorf("%w: %s: %s: %s", class, aws.ToString(e.Key), aws.ToString(e.Code), aws.ToString(e.Message))
		}
	}
	return nil
}

// ignoreNotFound is for the deletion of what is not there.
func ignoreNotFound(d driver, err error) error {
	if err != nil && errors.Is(d.classify(err), ErrNotFound) {
		return nil
	}
	return err
}

// createUpload implements driver.
func (d *s3Driver) createUpload(ctx context.Context, key string, h putHeader) (string, error) {
	in := &s3.CreateMultipartUploadInput{
		Bucket: d.bucket, Key: &key, Metadata: map[string]string{writerHeader: h.writer},
		ServerSideEncryption: types.ServerSideEncryption(d.encryption.method), SSEKMSKeyId: text(d.encryption.key),
	}
	if h.checksum {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32c
	}
	out, err := d.c.CreateMultipartUpload(ctx, in)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.UploadId), nil
}

// uploadPart implements driver.
func (d *s3Driver) uploadPart(ctx context.Context, key, id string, number int, b *body) (part, error) {
	out, err := d.c.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: d.bucket, Key: &key, UploadId: &id, PartNumber: aws.Int32(int32(number)), Body: b, ContentLength: &b.size, ChecksumCRC32C: text(b.crc),
	})
	if err != nil {
		return part{}, err
	}
	return part{tag: aws.ToString(out.ETag)}, nil
}

// completeUpload implements driver.
func (d *s3Driver) completeUpload(ctx context.Context, key, id string, parts []part, h putHeader) error {
	done := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		done[i] = types.CompletedPart{PartNumber: aws.Int32(int32(p.number)), ETag: &parts[i].tag, ChecksumCRC32C: text(p.crc)}
	}
	_, err := d.c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: d.bucket, Key: &key, UploadId: &id, MultipartUpload: &types.CompletedMultipartUpload{Parts: done}, IfNoneMatch: h.condition(),
	})
	return err
}

// abortUpload implements driver.
func (d *s3Driver) abortUpload(ctx context.Context, key, id string) error {
	_, err := d.c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: d.bucket, Key: &key, UploadId: &id})
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == codeNoSuchUpload {
		return nil
	}
	return err
}

// close implements driver. Idle connections close by themselves.
func (*s3Driver) close() {}
