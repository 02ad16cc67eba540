// Package jobworker is a client of jobworker.v1, the API of jobworkerd.
//
// Requests and jobs are the API's own messages, of package jobworkerv1: what a field means, its unit and
// its default are said there. This package adds what makes them pleasant: the connection, retries of the
// calls that are safe to repeat, lists that page by themselves, streams of output that go on where they
// broke, and errors for errors.Is and errors.As.
package jobworker
