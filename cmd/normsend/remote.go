package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/multicast-upgrade/tool/discovery"
	"github.com/multicast-upgrade/tool/internal/cli"
	"github.com/multicast-upgrade/tool/manifest"
	"github.com/multicast-upgrade/tool/upgrade"
	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/spf13/cobra"
)

const (
	// patience is how long a server may take to answer what it was asked in full.
	patience = time.Minute
	// maxAnswer bounds what is read of an answer, in bytes: a campaign has the names of its devices.
	maxAnswer = 128 << 20
	// maxTokenFile is far more than a token has.
	maxTokenFile = 4 << 10
)

// A remote is a server that is used by its REST API.
type remote struct {
	world                                 cli.World
	server, tokenFile, trustServer, tlsCA string
	json                                  bool
}

func (r *remote) register(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&r.server, "server", "", "`URL` of the server")
	fs.StringVar(&r.tokenFile, "token-file", "", "`file` with the token")
	fs.StringVar(&r.trustServer, "trust-server", "", "public server key `file` that the server's certificate was made with; default: the system's authorities")
	fs.StringVar(&r.tlsCA, "tls-ca", "", "`file` with the authorities to trust in their place")
	fs.BoolVar(&r.json, "json", false, "print lines of JSON")
}

// A remoteCommand is one that asks a server.
type remoteCommand struct {
	use, short, long, example string
	args                      cobra.PositionalArgs
	flags                     func(c *cobra.Command)
	run                       func(ctx context.Context, s *client, args []string) error
}

func (r remoteCommand) build(w cli.World) *cobra.Command {
	to := &remote{world: w}
	if r.args == nil {
		r.args = cli.NoArgs
	}
	c := &cobra.Command{Use: r.use, Short: r.short, Long: r.long, Example: "  normsend " + r.example, Args: r.args,
		RunE: func(c *cobra.Command, args []string) error {
			s, err := to.open()
			if err != nil {
				return cli.Usage(err)
			}
			return r.run(c.Context(), s, args)
		},
	}
	to.register(c)
	if r.flags != nil {
		r.flags(c)
	}
	return c
}

// A client is a remote that is ready to be asked.
type client struct {
	*remote
	api *rest.Client
}

func (r *remote) open() (*client, error) {
	if r.server == "" || r.tokenFile == "" {
		return nil, errors.New("--server and --token-file are required (or NORMSEND_SERVER and NORMSEND_TOKEN_FILE)")
	}
	u, err := url.Parse(r.server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("--server %q: want a URL like https://updates.example.net:8443", r.server)
	}
	if u.Scheme == "http" && !upgrade.Loopback(u.Host) {
		return nil, fmt.Errorf("--server %s: a token goes over https only, but on this host", r.server)
	}
	token, err := readToken(r.tokenFile)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = patience
	switch {
	case r.trustServer != "" && r.tlsCA != "":
		return nil, errors.New("--trust-server and --tls-ca exclude each other")
	case r.trustServer != "":
		key, err := manifest.LoadPublicKey(r.trustServer, manifest.RoleServer)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = discovery.ClientTLS(key, u.Hostname(), time.Now)
	case r.tlsCA != "":
		pool, err := cli.CertPool("--tls-ca", r.tlsCA)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool}
	}
	api, err := rest.NewClient(strings.TrimSuffix(r.server, "/")+"/api/v1", rest.WithHTTPClient(&http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this server
	}), rest.WithRequestEditorFn(func(_ context.Context, q *http.Request) error {
		q.Header.Set("Authorization", "Bearer "+token)
		return nil
	}))
	return &client{r, api}, err
}

func readToken(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	token := strings.TrimSpace(string(b))
	if err == nil && (token == "" || strings.ContainsAny(token, " \n\r")) {
		err = fmt.Errorf("--token-file %s: want a token, as normsend token create --out has written it", file)
	}
	return token, err
}

// ask reads the answer of the server as a T, or as the error that it is.
func ask[T any](resp *http.Response, err error) (answer T, _ error) {
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return answer, err
	case resp.StatusCode >= 300:
		return answer, problemOf(resp, body)
	case resp.StatusCode == http.StatusNoContent:
		return answer, nil
	}
	return answer, json.Unmarshal(body, &answer)
}

// done is ask where there is nothing to know but whether it was done.
func done(resp *http.Response, err error) error {
	_, err = ask[struct{}](resp, err)
	return err
}

func problemOf(resp *http.Response, body []byte) error {
	var p rest.Problem
	if json.Unmarshal(body, &p) != nil || p.Detail == "" {
		return fmt.Errorf("the server answers %s", resp.Status)
	}
	text := p.Detail
	if p.By != "" {
		text += fmt.Sprintf(" (by %s, %s)", p.By, p.At.Format(time.RFC3339))
	}
	for i, o := range p.Overlap {
		if i == 0 {
			text += "; taken:"
		}
		text += fmt.Sprintf(" %s by %s", o.Device, o.Name)
	}
	return errors.New(text)
}

// pages asks for all pages of a list, one after the other.
func pages[T any](ask func(after string) (items []T, next string, err error)) (all []T, err error) {
	for after := ""; ; {
		items, next, err := ask(after)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if after = next; next == "" {
			return all, nil
		}
	}
}

// line prints a thing as a line of JSON, as events are printed.
func (s *client) line(event string, v any) error {
	b, err := json.Marshal(v)
	fields := map[string]any{}
	if err == nil {
		err = json.Unmarshal(b, &fields)
	}
	if err != nil {
		return err
	}
	fields["time"], fields["event"] = time.Now().UTC(), event
	return json.NewEncoder(s.world.Stdout).Encode(fields)
}

// table prints things: lines of JSON, or columns for people.
func table[T any](s *client, event string, items []T, head string, row func(T) []any) error {
	if s.json {
		for _, v := range items {
			if err := s.line(event, v); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(s.world.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, head)
	for _, v := range items {
		for i, cell := range row(v) {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, printable(fmt.Sprint(cell)))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// printable keeps what others have written from moving the cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
}

// show prints one thing: a line of JSON, or a line for each of its fields.
func show(s *client, event string, v any, fields ...any) error {
	if s.json {
		return s.line(event, v)
	}
	t := tabwriter.NewWriter(s.world.Stdout, 0, 8, 2, ' ', 0)
	for i := 0; i < len(fields); i += 2 {
		if text := printable(fmt.Sprint(fields[i+1])); text != "" {
			fmt.Fprintf(t, "%s\t%s\n", fields[i], text)
		}
	}
	return t.Flush()
}

// moment says a time to people; nothing, if it is none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func etagOf(revision int64) string { return fmt.Sprintf(`"%d"`, revision) }
