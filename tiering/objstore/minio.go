package objstore

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/encrypt"
)

// minioDriver is the driver by minio-go.
type minioDriver struct {
	c         minio.Core
	transport *http.Transport
	bucket    string
	secure    bool
	sse       encrypt.ServerSide // nil for what the bucket says
}

// openMinIO opens minio://host:port/bucket/prefix?secure=…&region=…&path_style=…&sse=…&kms_key=…&checksum=….
func openMinIO(u *url.URL, opts Options) (*remote, error) {
	params, err := query(u, "secure", "region", "path_style", "sse", "kms_key", "checksum")
	if err != nil {
		return nil, err
	}
	if u.Host == "" {
		return nil, invalid("object store %s: no host", u)
	}
	bucket, path, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	p, err := newPlace(bucket, path, u.String())
	if err != nil {
		return nil, err
	}
	secure, serr := flag(params, "secure", true)
	pathStyle, perr := flag(params, "path_style", true)
	enc, eerr := newEncryption(params)
	checksum, cerr := checksums(params)
	if err := errors.Join(serr, perr, eerr, cerr); err != nil {
		return nil, err
	}
	creds := credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvMinio{}, &credentials.EnvAWS{}, &credentials.FileAWSCredentials{}})
	if opts.AccessKey != "" {
		creds = credentials.NewStaticV4(opts.AccessKey, opts.SecretKey, opts.SessionToken)
	}
	region := params["region"]
	if region == "" {
		region = "us-east-1" // else every start asks for the bucket's
	}
	lookup := minio.BucketLookupPath
	if !pathStyle {
		lookup = minio.BucketLookupDNS
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	tuneTransport(transport, opts)
	c, err := minio.New(u.Host, &minio.Options{
		Creds: creds, Secure: secure, Region: region, Transport: transport, BucketLookup: lookup, MaxRetries: 1, // remote repeats
	})
	if err != nil {
		return nil, opError("open", p.url, "", errors.Join(ErrFatal, err))
	}
	sse, err := enc.minio()
	if err != nil {
		return nil, opError("open", p.url, "", errors.Join(ErrFatal, err))
	}
	return newRemote(p, &minioDriver{c: minio.Core{Client: c}, transport: transport, bucket: p.bucket, secure: secure, sse: sse}, opts, checksum), nil
}

// minio returns the setting in minio-go's form.
func (e encryption) minio() (encrypt.ServerSide, error) {
	switch e.method {
	case sseS3:
		return encrypt.NewSSE(), nil
	case sseKMS:
		return encrypt.NewSSEKMS(e.key, nil)
	default:
		return nil, nil //nolint:nilnil // nil is minio-go's way to leave it to the bucket
	}
}

// classify implements driver.
func (*minioDriver) classify(err error) error {
	if resp, ok := errors.AsType[minio.ErrorResponse](err); ok {
		if c := classifyHTTP(resp.Code, resp.StatusCode); c != nil {
			return c
		}
	}
	return classifyLocal(err)
}

// newObject are the options of what makes an object.
func (d *minioDriver) newObject(h putHeader) minio.PutObjectOptions {
	return minio.PutObjectOptions{DisableMultipart: true, ServerSideEncryption: d.sse, UserMetadata: map[string]string{writerHeader: h.writer}, DisableContentSha256: !d.secure}
}

// headerCRC32C brings a body's checksum.
const headerCRC32C = "X-Amz-Checksum-Crc32c"

// sum is the sum of a body that is to be signed. Without TLS that is the whole body's, because minio-go would sign each of its pieces, and servers then call a body that was
// damaged on the way a wrong signature, which nobody repeats.
func (d *minioDriver) sum(b *body) (string, error) {
	if d.secure {
		return "", nil
	}
	return b.sha256()
}

// put implements driver.
func (d *minioDriver) put(ctx context.Context, key string, b *body, h putHeader) error {
	opts := d.newObject(h)
	if b.crc != "" {
		opts.UserMetadata[headerCRC32C] = b.crc
	}
	if h.ifNoneMatch {
		opts.SetMatchETagExcept("*")
	}
	sum, err := d.sum(b)
	if err == nil {
		_, err = d.c.PutObject(ctx, d.bucket, key, b, b.size, "", sum, opts)
	}
	return err
}

// get implements driver.
func (d *minioDriver) get(ctx context.Context, key string, off, n int64, ifMatch string) (answer, error) {
	var opts minio.GetObjectOptions
	opts.Set("Range", ranged(off, n))
	if ifMatch != "" {
		if err := opts.SetMatchETag(ifMatch); err != nil {
			return answer{}, invalid("tag: %v", err)
		}
	}
	rc, info, header, err := d.c.GetObject(ctx, d.bucket, key, opts)
	if err != nil {
		if resp := minio.ToErrorResponse(err); resp.Code == "InvalidRange" || resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
			return emptyAnswer(), nil
		}
		return answer{}, err
	}
	return newAnswer(rc, info.ETag, off, n, header.Get("Content-Range"), info.Size)
}

// head implements driver.
func (d *minioDriver) head(ctx context.Context, key string) (objectHead, error) {
	o, err := d.c.StatObject(ctx, d.bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return objectHead{}, err
	}
	h := objectHead{Info: Info{Key: key, Size: o.Size, Modified: o.LastModified}}
	for name, value := range o.UserMetadata {
		if strings.EqualFold(name, writerHeader) {
			h.writer = value
		}
	}
	return h, nil
}

// listPage is how many objects a server lists at once.
const listPage = 1000

// list implements driver.
func (d *minioDriver) list(ctx context.Context, prefix, after string) (page []Info, more bool, err error) {
	for o := range d.c.ListObjectsIter(ctx, d.bucket, minio.ListObjectsOptions{Prefix: prefix, StartAfter: after, MaxKeys: listPage, Recursive: true}) {
		if o.Err != nil {
			return nil, false, o.Err
		}
		page = append(page, Info{Key: o.Key, Size: o.Size, Modified: o.LastModified})
		if len(page) == listPage {
			return page, true, nil
		}
	}
	return page, false, ctx.Err() // the iterator ends silently
}

// remove implements driver.
func (d *minioDriver) remove(ctx context.Context, keys []string) error {
	if len(keys) == 1 {
		return ignoreNotFound(d, d.c.RemoveObject(ctx, d.bucket, keys[0], minio.RemoveObjectOptions{}))
	}
	objects := make(chan minio.ObjectInfo, len(keys))
	for _, key := range keys {
		objects <- minio.ObjectInfo{Key: key}
	}
	close(objects)
	var first error
	for e := range d.c.RemoveObjects(ctx, d.bucket, objects, minio.RemoveObjectsOptions{}) {
		if err := ignoreNotFound(d, e.Err); first == nil {
			first = err
		}
	}
	if first == nil {
		first = ctx.Err()
	}
	return first
}

// createUpload implements driver.
func (d *minioDriver) createUpload(ctx context.Context, key string, h putHeader) (string, error) {
	opts := d.newObject(h)
	if h.checksum {
		opts.UserMetadata["X-Amz-Checksum-Algorithm"] = "CRC32C"
	}
	return d.c.NewMultipartUpload(ctx, d.bucket, key, opts)
}

// uploadPart implements driver.
func (d *minioDriver) uploadPart(ctx context.Context, key, id string, number int, b *body) (part, error) {
	sum, err := d.sum(b)
	if err != nil {
		return part{}, err
	}
	opts := minio.PutObjectPartOptions{CustomHeader: http.Header{}, Sha256Hex: sum, DisableContentSha256: !d.secure}
	if b.crc != "" {
		opts.CustomHeader.Set(headerCRC32C, b.crc)
	}
	p, err := d.c.PutObjectPart(ctx, d.bucket, key, id, number, b, b.size, opts)
	return part{tag: p.ETag}, err
}

// completeUpload implements driver.
func (d *minioDriver) completeUpload(ctx context.Context, key, id string, parts []part, h putHeader) error {
	done := make([]minio.CompletePart, len(parts))
	for i, p := range parts {
		done[i] = minio.CompletePart{PartNumber: p.number, ETag: p.tag, ChecksumCRC32C: p.crc}
	}
	var opts minio.PutObjectOptions
	if h.ifNoneMatch {
		opts.SetMatchETagExcept("*")
	}
	_, err := d.c.CompleteMultipartUpload(ctx, d.bucket, key, id, done, opts)
	return err
}

// abortUpload implements driver.
func (d *minioDriver) abortUpload(ctx context.Context, key, id string) error {
	err := d.c.AbortMultipartUpload(ctx, d.bucket, key, id)
	if err != nil && minio.ToErrorResponse(err).Code == codeNoSuchUpload {
		return nil
	}
	return err
}

// close implements driver.
func (d *minioDriver) close() { d.transport.CloseIdleConnections() }
