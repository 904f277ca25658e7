package objstore

// For the tests of package objstore_test, which may import packages that import this one.
const CheckPrefix = checkPrefix

// OpenFake is a store on a driver without a server.
func OpenFake(d *FakeDriver, opts Options) Store {
	m, err := newMetrics(opts.Registerer)
	if err != nil {
		panic(err)
	}
	opts = opts.withDefaults()
	opts.metrics = m
	return newRemote(place{bucket: "fake", prefix: "p/", url: "fake:"}, d, opts, true)
}
