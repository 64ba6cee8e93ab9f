package scale

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// Append adds a row to a file of results, one JSON object a line.
func (r Row) Append(name string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(append(b, '\n')); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// Read returns the rows of a file of results.
func Read(name string) (rows []Row, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		var r Row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if len(r.Tail) != len(Shares) {
			return nil, fmt.Errorf("%s:%d: want %d times at which shares of the receivers were complete", name, n, len(Shares))
		}
		rows = append(rows, r)
	}
	return rows, lines.Err()
}

// Publish prints the tables of docs/scale.md that can be made of a file of results, and draws its plots into a directory
// unless that is empty.
func Publish(out io.Writer, results string, tables bool, plots string) error {
	rows, err := Read(results)
	if err != nil {
		return err
	}
	if tables {
		for _, t := range Tables(rows) {
			fmt.Fprintf(out, "%s\n\n%s\n", t.Name, t.Text)
		}
	}
	if plots == "" {
		return nil
	}
	return DrawPlots(plots, rows)
}
