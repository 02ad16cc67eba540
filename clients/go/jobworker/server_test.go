package jobworker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// authority is a CA. Its directory has the files that `jobworkerd certs init` creates.
type authority struct {
	directory string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{directory: t.TempDir()}
	a.cert, a.key = a.issue(t, "ca", &x509.Certificate{
		Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.issue(t, "server", &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	a.issue(t, "admin", &x509.Certificate{
		Subject: pkix.Name{OrganizationalUnit: []string{"Admin"}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return a
}

// issue writes NAME.pem and NAME-key.pem.
func (a *authority) issue(t *testing.T, name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	a.write(t, name+".pem", "CERTIFICATE", signed)
	a.write(t, name+"-key.pem", "PRIVATE KEY", secret)
	cert, err := x509.ParseCertificate(signed)
	must(t, err)
	return cert, key
}

func (a *authority) write(t *testing.T, name, kind string, bytes []byte) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})
	must(t, os.WriteFile(filepath.Join(a.directory, name), text, 0o600))
}

// serve starts a server that verifies client certificates. Port 0 selects a free port.
func (a *authority) serve(t *testing.T, address string, service jobworkerv1.JobServiceServer, maxVersion uint16) (*grpc.Server, string) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(a.directory, "server.pem"), filepath.Join(a.directory, "server-key.pem"))
	must(t, err)
	clients := x509.NewCertPool()
	clients.AddCert(a.cert)
	listener, err := net.Listen("tcp", address)
	must(t, err)
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, MaxVersion: maxVersion,
	})))
	jobworkerv1.RegisterJobServiceServer(server, service)
	if cluster, ok := service.(jobworkerv1.ClusterServiceServer); ok {
		jobworkerv1.RegisterClusterServiceServer(server, cluster)
	}
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return server, listener.Addr().String()
}

// clientOf starts a server and returns a client of it.
func clientOf(t *testing.T, service jobworkerv1.JobServiceServer) *Client {
	t.Helper()
	a := newAuthority(t)
	_, address := a.serve(t, "127.0.0.1:0", service, 0)
	return a.dial(t, address)
}

func (a *authority) dial(t *testing.T, address string) *Client {
	t.Helper()
	client, err := Dial(Config{Server: address, Certs: a.directory})
	must(t, err)
	t.Cleanup(func() { must(t, client.Close()) })
	return client
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		// Not Fatal: handlers of a server run in other goroutines.
		t.Errorf("got %v, want %v", got, want)
	}
}
