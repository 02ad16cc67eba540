package jobworker

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	defaultServer = "localhost"
	defaultPort   = "50051"
	defaultCerts  = "/opt/job-worker/certs"
	defaultRole   = "admin"
)

// Config names a server and the client's certificate. The zero value is the server on this host and the
// administrator's certificate in /opt/job-worker/certs.
type Config struct {
	// Server is HOST, HOST:PORT or [IPv6]:PORT. Default: localhost:50051.
	Server string
	// ServerName is the name expected in the server's certificate. Default: the HOST of Server.
	ServerName string

	// Certs is the directory that contains ca.pem, ROLE.pem and ROLE-key.pem. Default: /opt/job-worker/certs.
	Certs string
	// Role is admin or viewer. Default: admin.
	Role string

	// CA is the CA certificate file (PEM) that verifies the server. Default: ca.pem in Certs.
	CA string
	// Cert is the client certificate file (PEM). Default: ROLE.pem in Certs.
	Cert string
	// Key is the client key file (PEM). Default: ROLE-key.pem in Certs.
	Key string
}

// ConfigFromEnv returns the configuration in the environment variables of the jobworker command:
// JOBWORKER_SERVER, JOBWORKER_SERVER_NAME, JOBWORKER_CERTS, JOBWORKER_ROLE, JOBWORKER_CA, JOBWORKER_CERT and
// JOBWORKER_KEY.
func ConfigFromEnv() Config {
	return Config{
		Server:     os.Getenv("JOBWORKER_SERVER"),
		ServerName: os.Getenv("JOBWORKER_SERVER_NAME"),
		Certs:      os.Getenv("JOBWORKER_CERTS"),
		Role:       os.Getenv("JOBWORKER_ROLE"),
		CA:         os.Getenv("JOBWORKER_CA"),
		Cert:       os.Getenv("JOBWORKER_CERT"),
		Key:        os.Getenv("JOBWORKER_KEY"),
	}
}

// address returns HOST:PORT.
func (c Config) address() (string, error) {
	server := cmp.Or(c.Server, defaultServer)
	if !strings.Contains(server, ":") || strings.HasSuffix(server, "]") {
		server += ":" + defaultPort
	}
	host, port, err := net.SplitHostPort(server)
	if number, invalid := strconv.ParseUint(port, 10, 16); err != nil || invalid != nil || number == 0 || host == "" {
		return "", fmt.Errorf("jobworker: server address %q is not HOST:PORT; "+
			"set Config.Server or JOBWORKER_SERVER, for example to localhost:50051 or [::1]:50051", c.Server)
	}
	return server, nil
}

// tls reads the certificate files and returns the configuration of mutual TLS.
func (c Config) tls() (*tls.Config, error) {
	directory, role := cmp.Or(c.Certs, defaultCerts), cmp.Or(c.Role, defaultRole)
	ca := cmp.Or(c.CA, filepath.Join(directory, "ca.pem"))
	cert := cmp.Or(c.Cert, filepath.Join(directory, role+".pem"))
	key := cmp.Or(c.Key, filepath.Join(directory, role+"-key.pem"))

	authorities, err := readAuthorities(ca)
	if err != nil {
		return nil, err
	}
	pair, err := readPair(cert, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		RootCAs:      authorities,
		Certificates: []tls.Certificate{pair},
		ServerName:   c.ServerName,
	}, nil
}
