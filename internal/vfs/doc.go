// Package vfs is the file-system seam: everything in Varve that must survive a crash reaches the disk through an FS.
//
// There are three of them. OS is the operating system. Crash lives in memory, knows what has been synced and what has not,
// and gives the file systems that a kill or a power cut would leave behind; it also fails on demand. PowerCut is real
// files whose writes stay in the process until Sync, so that kill -9 of the process is a power cut; the build tag
// powercut makes it what Default returns.
//
// All of them are safe for concurrent use, and so are their files.
package vfs
