package jobworker

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

func TestAddress(t *testing.T) {
	for server, want := range map[string]string{
		"":            "localhost:50051",
		"example":     "example:50051",
		"example:443": "example:443",
		"[::1]":       "[::1]:50051",
		"[::1]:9":     "[::1]:9",
	} {
		got, err := Config{Server: server}.address()
		must(t, err)
		equal(t, got, want)
	}
}

func TestAddressThatIsNone(t *testing.T) {
	for _, server := range []string{":50051", "example:0", "example:65536", "example:http", "::1", "a:1:2", "example:"} {
		if got, err := (Config{Server: server}).address(); err == nil || !strings.Contains(err.Error(), "JOBWORKER_SERVER") {
			t.Errorf("%q is taken for %q, error %v", server, got, err)
		}
	}
}

func TestFromEnv(t *testing.T) {
	a := newAuthority(t)
	_, address := a.serve(t, "127.0.0.1:0", &calls{}, 0)
	moved := filepath.Join(t.TempDir(), "key.pem")
	must(t, os.Rename(filepath.Join(a.folder, "admin-key.pem"), moved))
	t.Setenv("JOBWORKER_SERVER", address)
	t.Setenv("JOBWORKER_CERTS", a.folder)
	t.Setenv("JOBWORKER_ROLE", "admin")
	t.Setenv("JOBWORKER_KEY", moved)
	t.Setenv("JOBWORKER_SERVER_NAME", "127.0.0.1")
	client, err := FromEnv()
	must(t, err)
	defer client.Close()
	_, err = client.Get(t.Context(), "any")
	must(t, err)
}

func TestServerNameIsChecked(t *testing.T) {
	a := newAuthority(t)
	_, address := a.serve(t, "127.0.0.1:0", &calls{}, 0)
	client, err := Dial(Config{Server: address, Certs: a.folder, ServerName: "another"})
	must(t, err)
	defer client.Close()
	_, err = client.Get(t.Context(), "any")
	if err == nil || !strings.Contains(err.Error(), "another") {
		t.Fatalf("a certificate for another name was taken: %v", err)
	}
}

func TestTLSBefore13IsRefused(t *testing.T) {
	a := newAuthority(t)
	_, address := a.serve(t, "127.0.0.1:0", &calls{}, tls.VersionTLS12)
	_, err := a.dial(t, address).Get(t.Context(), "any")
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Fatalf("the server speaks TLS 1.2 alone, and the call ended with %v", err)
	}
}

// calls answers every call that returns one message, after as many failures as it has.
type calls struct {
	jobworkerv1.UnimplementedJobServiceServer
	failures []error
	creates  []*jobworkerv1.CreateJobRequest
	lists    []*jobworkerv1.ListJobsRequest
	stops    []*jobworkerv1.StopJobRequest
	updates  []*jobworkerv1.UpdateJobRequest
	pages    []*jobworkerv1.ListJobsResponse
}

func (c *calls) fail() error {
	if len(c.failures) == 0 {
		return nil
	}
	err := c.failures[0]
	c.failures = c.failures[1:]
	return err
}

func (c *calls) CreateJob(_ context.Context, request *jobworkerv1.CreateJobRequest) (*jobworkerv1.CreateJobResponse, error) {
	c.creates = append(c.creates, request)
	return &jobworkerv1.CreateJobResponse{Job: &Job{Id: "new"}}, c.fail()
}

func (c *calls) GetJob(_ context.Context, request *jobworkerv1.GetJobRequest) (*jobworkerv1.GetJobResponse, error) {
	return &jobworkerv1.GetJobResponse{Job: &Job{Id: request.GetId()}}, c.fail()
}

func (c *calls) ListJobs(_ context.Context, request *jobworkerv1.ListJobsRequest) (*jobworkerv1.ListJobsResponse, error) {
	c.lists = append(c.lists, request)
	return c.pages[len(c.lists)-1], c.fail()
}

func (c *calls) StopJob(_ context.Context, request *jobworkerv1.StopJobRequest) (*jobworkerv1.StopJobResponse, error) {
	c.stops = append(c.stops, request)
	return &jobworkerv1.StopJobResponse{Job: &Job{Id: request.GetId()}}, c.fail()
}

func (c *calls) UpdateJob(_ context.Context, request *jobworkerv1.UpdateJobRequest) (*jobworkerv1.UpdateJobResponse, error) {
	c.updates = append(c.updates, request)
	return &jobworkerv1.UpdateJobResponse{Job: &Job{Id: request.GetId(), MaxMemory: request.GetMaxMemory()}}, c.fail()
}
