// Command varve is Varve's one binary: the broker (varve server) and the tools
// that talk to a broker over the wire (varve topic, group, produce, consume,
// read, status).
//
// This is the only package that reads flags and the environment, prints, and
// ends the process. A command returns an error; main turns it into an exit
// code: 0 done, 1 it went wrong, 2 the command line or the configuration is
// at fault, 130 or 143 ended at once by a second signal.
package main
