// Package conformance drives a RocketMQ server with Apache's own Go client, rocketmq-client-go.
//
// The server is given by VARVE_NAMESRV (127.0.0.1:9876). There is nothing to skip: without a server the tests fail.
// go.mod pins the last release of the client, which sends no broker name with its requests; go.next.mod pins a newer
// commit, which does. Topic and group names are unique per run, so that a server can be used again.
package conformance
