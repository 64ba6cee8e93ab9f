package store_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/multicast-upgrade/tool/internal/pgtest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

func TestOpenSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ url, want string }{
		{"", "want sqlite:FILE or postgres://"},
		{"sqlite:", "want sqlite:FILE or postgres://"},
		{"mysql://root@db/fleet", "want sqlite:FILE or postgres://"},
		{"sqlite::memory:", "plain path"},
		{"sqlite:fleet.db?mode=ro", "plain path"},
		{"sqlite://host/fleet.db", "plain path"},
		{"sqlite:file:fleet.db", "plain path"},
		{"sqlite:" + filepath.Join(t.TempDir(), "no", "such", "fleet.db"), "fleet.db"},
		{"postgres://u:s3cret@127.0.0.1:x/db", "cannot be parsed"},
		{"postgres://u:s3cret@127.0.0.1:1/db?connect_timeout=1", "PostgreSQL at 127.0.0.1"},
	} {
		s, err := store.Open(t.Context(), tt.url)
		if err == nil {
			s.Close()
			t.Errorf("%s: no error", tt.url)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q and no password", tt.url, err, tt.want)
		}
	}
}

func TestSQLiteIsPrivateAndOpensTwice(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fleet 100% #1?.db")
	if runtime.GOOS == "windows" {
		file = filepath.Join(t.TempDir(), "fleet 100%.db")
	}
	_, err := store.Open(t.Context(), "sqlite:"+file)
	if strings.ContainsAny(file, "?#") {
		if err == nil {
			t.Error("a path that looks like parameters was taken")
		}
		file = filepath.Join(filepath.Dir(file), "fleet 100%.db")
	}
	s := open(t, "sqlite:"+file)
	wantNil(t, s.AddEvents(t.Context(), store.Event{At: start, Actor: "a", Action: "b"}))
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(file + suffix)
		wantNil(t, err)
		if mode := info.Mode().Perm(); mode != 0o600 && runtime.GOOS != "windows" {
			t.Errorf("%s has mode %v", file+suffix, mode)
		}
	}
	again := open(t, "sqlite:"+file)
	if n := must(again.LastEvent(t.Context()))(t); n != 1 {
		t.Errorf("the last event is %d", n)
	}
}

func TestSQLiteSyncsItsLog(t *testing.T) {
	s := open(t, newSQLite(t))
	var synchronous, foreign int
	var journal string
	wantNil(t, s.DB().QueryRowContext(t.Context(), `PRAGMA synchronous`).Scan(&synchronous))
	wantNil(t, s.DB().QueryRowContext(t.Context(), `PRAGMA journal_mode`).Scan(&journal))
	wantNil(t, s.DB().QueryRowContext(t.Context(), `PRAGMA foreign_keys`).Scan(&foreign))
	if synchronous != 2 || journal != "wal" || foreign != 1 { // 2: FULL
		t.Errorf("synchronous %d, journal mode %s, foreign keys %d", synchronous, journal, foreign)
	}
}

func TestPostgresThatLosesCommitsIsRefused(t *testing.T) {
	url := pgtest.New(t)
	name, _, _ := strings.Cut(url[strings.LastIndex(url, "/")+1:], "?")
	pgtest.Exec(t, "ALTER DATABASE "+name+" SET synchronous_commit = off")
	s, err := store.Open(t.Context(), url)
	if err == nil {
		s.Close()
		t.Fatal("it was opened")
	}
	if !strings.Contains(err.Error(), "synchronous_commit = off") {
		t.Error(err)
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	for name, url := range databases {
		t.Run(name, func(t *testing.T) {
			url := url(t)
			must(open(t, url).DB().ExecContext(t.Context(), `INSERT INTO schema_version (version) VALUES (1000)`))(t)
			s, err := store.Open(t.Context(), url)
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), "version 1000") || !strings.Contains(err.Error(), "newer program") {
				t.Error(err)
			}
		})
	}
}

func TestMigrationIsAllOrNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		names := must(filepath.Glob("migrations/*.sql"))(t)
		files := fstest.MapFS{}
		for _, name := range names {
			files[filepath.ToSlash(name)] = &fstest.MapFile{Data: must(os.ReadFile(name))(t)}
		}
		next := fmt.Sprintf("migrations/%04d_next.sql", len(names)+1)
		files[next] = &fstest.MapFile{Data: []byte("CREATE TABLE extra (n BIGINT); INSERT INTO extra (n) VALUES (1); INSERT INTO nowhere (n) VALUES (1);")}
		err := s.Migrate(t.Context(), files)
		if err == nil || !strings.Contains(err.Error(), "_next.sql") {
			t.Fatalf("error %v", err)
		}
		files[next].Data = []byte("CREATE TABLE extra (n BIGINT); INSERT INTO extra (n) VALUES (1);") // fails if there is one already
		wantNil(t, s.Migrate(t.Context(), files))
		wantNil(t, s.Migrate(t.Context(), files))
		delete(files, filepath.ToSlash(names[0]))
		if err := s.Migrate(t.Context(), files); err == nil || !strings.Contains(err.Error(), "want number 1") {
			t.Errorf("error %v with a gap", err)
		}
	})
}

// Another server that writes to the file while it has no write-ahead log yet, as one that turns it on, is waited for.
func TestSQLiteWaitsForAnotherThatStarts(t *testing.T) {
	url := newSQLite(t)
	other := must(sql.Open("sqlite", strings.TrimPrefix(url, "sqlite:")+"?_txlock=immediate"))(t)
	defer other.Close()
	must(other.ExecContext(t.Context(), `CREATE TABLE t (n BIGINT)`))(t)
	tx := must(other.BeginTx(t.Context(), nil))(t) // it may write until its transaction ends
	time.AfterFunc(200*time.Millisecond, func() { tx.Rollback() })
	open(t, url)
}

func TestServersThatStartTogetherMigrateOnce(t *testing.T) {
	for name, url := range databases {
		t.Run(name, func(t *testing.T) {
			url := url(t)
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					s, err := store.Open(t.Context(), url)
					if err != nil {
						t.Error(err)
						return
					}
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
		})
	}
}
