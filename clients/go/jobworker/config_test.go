package jobworker

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
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

func TestInvalidAddress(t *testing.T) {
	for _, server := range []string{":50051", "example:0", "example:65536", "example:http", "::1", "a:1:2", "example:"} {
		if got, err := (Config{Server: server}).address(); err == nil || !strings.Contains(err.Error(), "JOBWORKER_SERVER") {
			t.Errorf("address of %q: %q, error %v", server, got, err)
		}
	}
}

func TestFromEnv(t *testing.T) {
	a := newAuthority(t)
	_, address := a.serve(t, "127.0.0.1:0", &unaryServer{}, 0)
	moved := filepath.Join(t.TempDir(), "key.pem")
	must(t, os.Rename(filepath.Join(a.directory, "admin-key.pem"), moved))
	t.Setenv("JOBWORKER_SERVER", address)
	t.Setenv("JOBWORKER_CERTS", a.directory)
	t.Setenv("JOBWORKER_ROLE", "admin")
	t.Setenv("JOBWORKER_KEY", moved)
	t.Setenv("JOBWORKER_SERVER_NAME", "127.0.0.1")
	client, err := FromEnv()
	must(t, err)
	defer client.Close()
	_, err = client.Get(t.Context(), "any")
	must(t, err)
}

func TestServerNameIsVerified(t *testing.T) {
	a := newAuthority(t)
	_, address := a.serve(t, "127.0.0.1:0", &unaryServer{}, 0)
	client, err := Dial(Config{Server: address, Certs: a.directory, ServerName: "another"})
	must(t, err)
	defer client.Close()
	_, err = client.Get(t.Context(), "any")
	if err == nil || !strings.Contains(err.Error(), "another") {
		t.Fatalf("a certificate with another name was accepted: %v", err)
	}
}

func TestTLS12IsRefused(t *testing.T) {
	a := newAuthority(t)
	_, address := a.serve(t, "127.0.0.1:0", &unaryServer{}, tls.VersionTLS12)
	_, err := a.dial(t, address).Get(t.Context(), "any")
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Fatalf("call to a server with TLS 1.2: %v", err)
	}
}
