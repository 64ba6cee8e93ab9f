// Package pgtest runs a PostgreSQL server for tests: Debian's, in a directory of its own, on a loopback port.
package pgtest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// A server is one that the tests of a package share.
type server struct {
	dir  string
	url  string // of its database postgres
	cmd  *exec.Cmd
	done chan error
}

var (
	mu       sync.Mutex // guards all below
	started  *server    // nil: none runs
	errStart error      // of the only try: where none starts none will
	made     int        // databases
)

// Stop ends the server, if one was started. It belongs at the end of TestMain, or of a test that is alone in needing one; the
// next New starts another.
func Stop() error {
	mu.Lock()
	defer mu.Unlock()
	if started == nil {
		return nil
	}
	p := started
	started = nil
	return p.stop()
}

// New returns the URL of an empty database. Where there is no PostgreSQL the test skips, unless REQUIRE_POSTGRES
// says that there has to be.
func New(t testing.TB) string {
	t.Helper()
	p, n, err := running()
	if err != nil {
		if os.Getenv("REQUIRE_POSTGRES") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	name := fmt.Sprintf("test%d", n)
	p.exec(t, "CREATE DATABASE "+name)
	return p.database(name)
}

// running returns the server, started if it has to be, and the number of its next database.
func running() (*server, int, error) {
	mu.Lock()
	defer mu.Unlock()
	if started == nil && errStart == nil {
		started, errStart = start()
	}
	made++
	return started, made, errStart
}

func (p *server) database(name string) string { return p.url + name + "?sslmode=disable" }

// Exec executes a statement as the superuser of the server that New has started.
func Exec(t testing.TB, text string) {
	t.Helper()
	mu.Lock()
	p := started
	mu.Unlock()
	p.exec(t, text)
}

func (p *server) exec(t testing.TB, text string) {
	t.Helper()
	db, err := sql.Open("pgx", p.database("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), text); err != nil {
		t.Fatal(err)
	}
}

func start() (_ *server, err error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "postgres-")
	if err != nil {
		return nil, err
	}
	p := &server{dir: dir, done: make(chan error, 1)}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	data := filepath.Join(dir, "data")
	// PostgreSQL does not run as root.
	as, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "store", "-A", "trust", "-E", "UTF8", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, as
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	p.url = fmt.Sprintf("postgres://store@127.0.0.1:%d/", port)
	p.cmd = exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200")
	p.cmd.Dir, p.cmd.SysProcAttr = dir, as
	var said bytes.Buffer
	p.cmd.Stderr = &said
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.done <- p.cmd.Wait() }()
	db, err := sql.Open("pgx", p.database("postgres"))
	if err != nil {
		return nil, err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		if err = db.PingContext(ctx); err == nil {
			return p, nil
		}
		select {
		case <-p.done:
			return nil, fmt.Errorf("postgres: %s", said.Bytes())
		case <-ctx.Done():
			return nil, errors.Join(err, p.stop())
		case <-time.After(50 * time.Millisecond): // until it takes connections
		}
	}
}

func (p *server) stop() error {
	p.cmd.Process.Signal(syscall.SIGINT) // fast shutdown
	err := <-p.done
	return errors.Join(err, os.RemoveAll(p.dir))
}

// binaries finds the server's programs: Debian has them out of the way.
func binaries() (string, error) {
	if runtime.GOOS == "windows" {
		return "", errors.New("no PostgreSQL is started on Windows")
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return "", errors.New("there is no PostgreSQL here: apt-get install postgresql")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// owner returns the ids of a user that is not root, for a server started by root.
func owner() (uid, gid int, err error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, errUser := user.Lookup(name)
		if errUser != nil {
			err = errUser
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		return uid, gid, errors.Join(err1, err2)
	}
	return 0, 0, err
}
