package discovery

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"

	"github.com/multicast-upgrade/tool/manifest"
)

// ErrServerCertificate: the server's certificate was not made with the trusted server key, or not for this host.
var ErrServerCertificate = errors.New("discovery: the server's certificate was not made with the trusted server key")

// ServerTLS makes a TLS key and certifies it with the server key for the given hosts (names or addresses). Devices that
// trust the server key need no other root: see [ClientTLS].
func ServerTLS(key *manifest.PrivateKey, hosts []string, now time.Time) (*tls.Config, error) {
	// A key of its own, so that the server key signs documents and this one certificate, never handshakes.
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "multicast upgrade rendezvous"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, host)
		}
	}
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: key.Public().Fingerprint()}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, issuer, private.Public(), key.CryptoSigner())
	if err != nil {
		return nil, fmt.Errorf("discovery: certifying the TLS key: %w", err)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
		NextProtos:   []string{"h2", "http/1.1"},
	}, nil
}

// ClientTLS returns the configuration of a device that trusts nothing but the server key: the certificate must have been
// signed by it and name host, the name or address in the server's URL. Its NotBefore is ignored, because a device may have no clock; so is NotAfter when
// now returns the zero time.
func ClientTLS(key manifest.PublicKey, host string, now func() time.Time) *tls.Config {
	keys := []manifest.PublicKey{key}
	return ClientTLSOf(func() []manifest.PublicKey { return keys }, host, now)
}

// ClientTLSOf is ClientTLS for several server keys, of which any one will do. They are asked for at each handshake, so that
// another root document counts from the next connection on.
func ClientTLSOf(keys func() []manifest.PublicKey, host string, now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // VerifyConnection does it, with these keys in place of a list of authorities
		VerifyConnection: func(cs tls.ConnectionState) error {
			return verifyLeaf(cs.PeerCertificates[0], host, keys(), now())
		},
	}
}

func verifyLeaf(leaf *x509.Certificate, host string, keys []manifest.PublicKey, now time.Time) error {
	certified := func(key manifest.PublicKey) bool {
		public, ok := key.CryptoPublicKey().(ed25519.PublicKey)
		return ok && key.Role() == manifest.RoleServer && leaf.SignatureAlgorithm == x509.PureEd25519 &&
			ed25519.Verify(public, leaf.RawTBSCertificate, leaf.Signature)
	}
	if !slices.ContainsFunc(keys, certified) {
		return ErrServerCertificate
	}
	if err := leaf.VerifyHostname(host); err != nil {
		return fmt.Errorf("%w: %w", ErrServerCertificate, err)
	}
	if !now.IsZero() && now.After(leaf.NotAfter) {
		return fmt.Errorf("%w: it expired on %s", ErrServerCertificate, leaf.NotAfter.Format(time.DateOnly))
	}
	return nil
}
