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
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// minioStore is a [Store] on MinIO by minio-go.
type minioStore struct {
	place
	c         minio.Core
	transport *http.Transport
}

// openMinIO opens minio://host:port/bucket/prefix?secure=…&region=….
func openMinIO(u *url.URL, opts Options) (*minioStore, error) {
	params, err := query(u, "secure", "region")
	if err != nil {
		return nil, err
	}
	if u.Host == "" {
		return nil, invalid("object store %s: no host", u)
	}
	secure, err := flag(params, "secure", true)
	if err != nil {
		return nil, err
	}
	bucket, path, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	p, err := newPlace(bucket, path, u.String())
	if err != nil {
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
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	tuneTransport(transport, opts)
	c, err := minio.New(u.Host, &minio.Options{Creds: creds, Secure: secure, Region: region, Transport: transport, MaxRetries: opts.MaxAttempts})
	if err != nil {
		return nil, opError("open", p.url, "", fmt.Errorf("%w: %w", ErrFatal, err))
	}
	return &minioStore{place: p, c: minio.Core{Client: c}, transport: transport}, nil
}

// fault names the operation and gives the error a class.
func (s *minioStore) fault(op, key string, err error) error {
	if Class(err) == nil {
		class := classifyLocal(err)
		if resp, ok := errors.AsType[minio.ErrorResponse](err); ok {
			if c := classifyHTTP(resp.Code, resp.StatusCode); c != nil {
				class = c
			}
		}
		err = fmt.Errorf("%w: %w", class, err)
	}
	return opError(op, s.url, key, err)
}

// Put implements [Store].
func (s *minioStore) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts PutOptions) error {
	err := checkPut(key, r, size)
	if err == nil {
		po := minio.PutObjectOptions{DisableMultipart: true, SendContentMd5: false}
		if opts.IfNoneMatch {
			po.SetMatchETagExcept("*")
		}
		_, err = s.c.Client.PutObject(ctx, s.bucket, s.prefix+key, r, size, po)
	}
	if err != nil {
		return s.fault("put", key, err)
	}
	return nil
}

// Get implements [Store].
func (s *minioStore) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := checkGet(key, off); err != nil {
		return nil, s.fault("get", key, err)
	}
	if n == 0 { // no HTTP range is empty
		_, err := s.Head(ctx, key)
		return io.NopCloser(bytes.NewReader(nil)), err
	}
	var opts minio.GetObjectOptions
	var err error
	switch {
	case n > 0:
		err = opts.SetRange(off, off+n-1)
	case off > 0:
		err = opts.SetRange(off, 0)
	}
	if err != nil {
		return nil, s.fault("get", key, invalid("range: %v", err))
	}
	body, _, _, err := s.c.GetObject(ctx, s.bucket, s.prefix+key, opts)
	if err != nil {
		if minio.ToErrorResponse(err).Code == "InvalidRange" {
			return io.NopCloser(bytes.NewReader(nil)), nil
		}
		return nil, s.fault("get", key, err)
	}
	return classReader{body, func(err error) error { return s.fault("read", key, err) }}, nil
}

// Head implements [Store].
func (s *minioStore) Head(ctx context.Context, key string) (Info, error) {
	err := checkGet(key, 0)
	var o minio.ObjectInfo
	if err == nil {
		o, err = s.c.StatObject(ctx, s.bucket, s.prefix+key, minio.StatObjectOptions{})
	}
	if err != nil {
		return Info{}, s.fault("head", key, err)
	}
	return Info{Key: key, Size: o.Size, Modified: o.LastModified}, nil
}

// List implements [Store].
func (s *minioStore) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for o := range s.c.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true}) {
			if o.Err != nil {
				yield(Info{}, s.fault("list", prefix, o.Err))
				return
			}
			if !yield(Info{Key: strings.TrimPrefix(o.Key, s.prefix), Size: o.Size, Modified: o.LastModified}, nil) {
				return
			}
		}
		if err := alive(ctx); err != nil { // the iterator ends silently
			yield(Info{}, s.fault("list", prefix, err))
		}
	}
}

// Delete implements [Store].
func (s *minioStore) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := ValidateKey(key); err != nil {
			return s.fault("delete", key, err)
		}
	}
	if len(keys) == 1 {
		if err := s.c.RemoveObject(ctx, s.bucket, s.prefix+keys[0], minio.RemoveObjectOptions{}); err != nil {
			return s.fault("delete", keys[0], err)
		}
		return nil
	}
	objects := make(chan minio.ObjectInfo)
	feed, stop := context.WithCancel(ctx)
	defer stop()
	go func() { // ends with the keys or with this call
		defer close(objects)
		for _, key := range keys {
			select {
			case objects <- minio.ObjectInfo{Key: s.prefix + key}:
			case <-feed.Done():
				return
			}
		}
	}()
	var first error
	for e := range s.c.RemoveObjects(ctx, s.bucket, objects, minio.RemoveObjectsOptions{}) {
		if err := s.fault("delete", strings.TrimPrefix(e.ObjectName, s.prefix), e.Err); first == nil && !errors.Is(err, ErrNotFound) {
			first = err
		}
	}
	if first == nil && ctx.Err() != nil {
		first = s.fault("delete", "", ctx.Err())
	}
	return first
}

// Check implements [Store].
func (s *minioStore) Check(ctx context.Context) error { return check(ctx, s) }

// URL implements [Store].
func (s *minioStore) URL() string { return s.url }

// Close implements [Store].
func (s *minioStore) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}
