package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// KeyPair reads the files of --tls-cert and --tls-key; it returns none if neither is given.
func KeyPair(cert, key string) ([]tls.Certificate, error) {
	if (cert == "") != (key == "") {
		return nil, errors.New("--tls-cert and --tls-key belong together")
	}
	if cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", cert, key, err)
	}
	return []tls.Certificate{pair}, nil
}

// ServerTLS returns the TLS of a server with the pair of --tls-cert and --tls-key, nil if neither is given.
func ServerTLS(cert, key string) (*tls.Config, error) {
	pairs, err := KeyPair(cert, key)
	if err != nil || pairs == nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: pairs, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// CertPool reads the authorities that a flag names a file of.
func CertPool(flag, file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s %s: there is no certificate in it", flag, file)
	}
	return pool, nil
}
