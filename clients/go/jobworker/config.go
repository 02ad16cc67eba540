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

// Config says where the server is and who we are. The zero value is the server on this host, and the
// administrator's certificate in /opt/job-worker/certs.
type Config struct {
	// Server is HOST or HOST:PORT; an IPv6 address with a port is in brackets. Default: localhost:50051.
	Server string
	// ServerName is the name that the server's certificate must have. Default: the HOST of Server.
	ServerName string

	// Certs is a folder with ca.pem, ROLE.pem and ROLE-key.pem. Default: /opt/job-worker/certs.
	Certs string
	// Role is admin or viewer. Default: admin.
	Role string

	// CA, Cert and Key are PEM files, each used instead of that of Certs: the authority that signed the
	// server's certificate, our certificate and its key.
	CA, Cert, Key string
}

// ConfigFromEnv returns what the variables say that the command jobworker reads, too: JOBWORKER_SERVER,
// JOBWORKER_SERVER_NAME, JOBWORKER_CERTS, JOBWORKER_ROLE, JOBWORKER_CA, JOBWORKER_CERT and JOBWORKER_KEY.
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
	if number, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || number == 0 || host == "" {
		return "", fmt.Errorf("jobworker: the server's address %q is not HOST:PORT, as localhost:50051 or [::1]:50051 are; "+
			"set Config.Server or JOBWORKER_SERVER", c.Server)
	}
	return server, nil
}

// tls reads the files of a connection on which each side shows its certificate.
func (c Config) tls() (*tls.Config, error) {
	folder, role := cmp.Or(c.Certs, defaultCerts), cmp.Or(c.Role, defaultRole)
	ca := cmp.Or(c.CA, filepath.Join(folder, "ca.pem"))
	cert := cmp.Or(c.Cert, filepath.Join(folder, role+".pem"))
	key := cmp.Or(c.Key, filepath.Join(folder, role+"-key.pem"))

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
