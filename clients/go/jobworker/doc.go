// Package jobworker is a client of jobworker.v1, the API of jobworkerd.
//
// Requests and jobs are the messages of package jobworkerv1, which documents their fields, units and defaults.
// This package adds the connection, retries, lists that request pages as you iterate, and streams of output
// and input that resume after a broken connection. Its errors work with errors.Is and errors.As.
package jobworker
