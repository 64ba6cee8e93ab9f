package discovery

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// issue makes a certificate, of an authority that signs itself if issuer is nil.
func issue(t *testing.T, leaf, issuer *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if issuer == nil {
		issuer, signer = leaf, key
	}
	leaf.SerialNumber, leaf.NotBefore, leaf.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, leaf, issuer, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func TestCertificateBindsDevice(t *testing.T) {
	ca, caKey := issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	others, othersKey := issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	device := func(name string, dns []string, ca *x509.Certificate, key *ecdsa.PrivateKey) []tls.Certificate {
		leaf, leafKey := issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: dns, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca, key)
		return []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: leafKey}}
	}
	server := httptest.NewUnstartedServer(RequireCertificate(NewHandler(&backend{})))
	server.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: x509.NewCertPool()}
	server.TLS.ClientCAs.AddCert(ca)
	server.StartTLS()
	defer server.Close()
	for _, c := range []struct {
		name  string
		certs []tls.Certificate
		says  string
		ok    bool
	}{
		{"by its common name", device("lamp-1", nil, ca, caKey), "lamp-1", true},
		{"by its DNS name", device("somebody", []string{"lamp-1"}, ca, caKey), "lamp-1", true},
		{"as another", device("lamp-1", nil, ca, caKey), "lamp-2", false},
		{"by the common name beside a DNS name", device("lamp-2", []string{"lamp-1"}, ca, caKey), "lamp-2", false},
		{"without a name", device("", nil, ca, caKey), "", false},
		{"without a certificate", nil, "lamp-1", false},
		{"of another authority", device("lamp-1", nil, others, othersKey), "lamp-1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			transport := server.Client().Transport.(*http.Transport).Clone()
			transport.TLSClientConfig.Certificates = c.certs
			defer transport.CloseIdleConnections()
			client, err := NewClient(server.URL, transport)
			if err != nil {
				t.Fatal(err)
			}
			client.Device = c.says
			err = client.Status(t.Context(), Status{Device: c.says, Campaign: "c", State: "receiving"})
			_, _, errPoll := client.poll(t.Context(), "", 0)
			if (err == nil) != c.ok || (errPoll == nil) != c.ok {
				t.Errorf("status: %v; poll: %v", err, errPoll)
			}
			if refused, ok := errors.AsType[*Refusal](err); !c.ok && ok && refused.Status != http.StatusForbidden {
				t.Errorf("refusal %+v", refused)
			}
		})
	}
}
