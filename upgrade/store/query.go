package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A Page is a part of a list.
type Page struct {
	After string // what the Next of the page before says, of the same Order. Empty: from the start
	Limit int    // how many. If zero, 100; at most 1,000
	// Order is what the list is sorted by: "id", which it is if this is empty, or what the method says it can be. With a
	// minus before it the greatest come first: "-id".
	Order string
}

const (
	defaultLimit = 100
	maxLimit     = 1000
	maxFilter    = 200 // values of one field of a filter
)

func (p Page) limit() int {
	if p.Limit <= 0 {
		return defaultLimit
	}
	return min(p.Limit, maxLimit)
}

// A List is a page of things.
type List[T any] struct {
	Items []T
	Next  string // Page.After of the next page; empty: this is the last
}

// A condition is the text after WHERE, made of constant words, and the arguments that go with it.
type condition struct {
	words []string
	args  []any
}

// add adds a term; each ? in it is one of args.
func (c *condition) add(term string, args ...any) {
	var b strings.Builder
	for _, r := range term {
		if r != '?' {
			b.WriteRune(r)
			continue
		}
		c.args = append(c.args, args[0])
		args = args[1:]
		b.WriteString("$" + strconv.Itoa(len(c.args)))
	}
	c.words = append(c.words, b.String())
}

// in adds that a column has one of values, if there are any. Term has one %s.
func (c *condition) in(term string, values []string) {
	if len(values) == 0 {
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	c.add(fmt.Sprintf(term, strings.Repeat("?, ", len(values)-1)+"?"), args...)
}

// equal adds that a column has a value, if there is one.
func (c *condition) equal(column, value string) {
	if value != "" {
		c.add(column+" = ?", value)
	}
}

func (c *condition) String() string {
	if len(c.words) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.words, " AND ")
}

// A column is one that a list can be sorted by. Each that is not the key has an index, so that a page costs as much as it is
// long.
type column[T any] struct {
	name   string
	value  func(T) string // as Page.After has it
	number bool           // it is a number in decimal
}

// argument reads a value.
func (c column[T]) argument(text string) (any, error) {
	if !c.number {
		return text, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: page after %.70q: want what next of the page before says", ErrInvalid, text)
	}
	return n, nil
}

// columns are what a list can be sorted by: its key, and others by their name in Page.Order.
type columns[T any] struct {
	key    column[T] // of which no two are the same, and none has a space
	others map[string]column[T]
}

// after adds that what comes is behind p.After, and returns the text after ORDER BY, and Page.After of what comes behind an item.
func (by columns[T]) after(c *condition, p Page) (order string, next func(T) string, err error) {
	name, isDown := strings.CutPrefix(p.Order, "-")
	than, direction := ">", ""
	if isDown {
		than, direction = "<", " DESC"
	}
	if p.Order == "" || name == "id" {
		if p.After != "" {
			id, err := by.key.argument(p.After)
			if err != nil {
				return "", nil, err
			}
			c.add(by.key.name+" "+than+" ?", id)
		}
		return by.key.name + direction, by.key.value, nil
	}
	o, ok := by.others[name]
	if !ok {
		return "", nil, fmt.Errorf("%w: order %.70q: want one of %q", ErrInvalid, p.Order, append(slices.Sorted(maps.Keys(by.others)), "id"))
	}
	if p.After != "" {
		id, value, _ := strings.Cut(p.After, " ")
		args := make([]any, 2)
		if args[0], err = o.argument(value); err == nil {
			args[1], err = by.key.argument(id)
		}
		if err != nil {
			return "", nil, err
		}
		c.add("("+o.name+", "+by.key.name+") "+than+" (?, ?)", args...)
	}
	next = func(item T) string { return by.key.value(item) + " " + o.value(item) }
	return o.name + direction + ", " + by.key.name + direction, next, nil
}

// list reads a page: text is a SELECT without WHERE.
func list[T any](ctx context.Context, db *sql.DB, text string, by columns[T], c condition, p Page, scan func(scanner) (T, error)) (List[T], error) {
	order, next, err := by.after(&c, p)
	if err != nil {
		return List[T]{}, err
	}
	for _, arg := range c.args {
		if text, ok := arg.(string); ok {
			if err := checkText("filter", text, maxText); err != nil {
				return List[T]{}, err
			}
		}
	}
	limit := p.limit()
	c.args = append(c.args, limit+1)
	items, err := collect(ctx, db, text+c.String()+" ORDER BY "+order+" LIMIT $"+strconv.Itoa(len(c.args)), c.args, scan)
	if err != nil {
		return List[T]{}, err
	}
	if len(items) <= limit {
		return List[T]{Items: items}, nil
	}
	items = items[:limit]
	return List[T]{items, next(items[limit-1])}, nil
}

// A scanner is a row, or the rows of a query at one of them.
type scanner interface{ Scan(dest ...any) error }

// A querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func collect[T any](ctx context.Context, q querier, text string, args []any, scan func(scanner) (T, error)) (items []T, err error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, rows.Err()
}

// batchRows is how many rows a transaction writes that takes part of a long list, and how many values a list of them has.
const batchRows = 500

// insertRows inserts rows of columns each, by as many with one statement as the database is quickest at, and returns how many
// were inserted or changed.
func (e engine) insertRows(ctx context.Context, tx *sql.Tx, head string, columns int, tail string, args []any) (rows int64, err error) {
	var full *sql.Stmt
	for part := range slices.Chunk(args, columns*e.insertAtOnce) {
		var r sql.Result
		if len(part) < columns*e.insertAtOnce { // it is the last
			r, err = tx.ExecContext(ctx, head+values(len(part)/columns, columns)+tail, part...)
		} else {
			if full == nil {
				if full, err = tx.PrepareContext(ctx, head+values(e.insertAtOnce, columns)+tail); err != nil {
					return 0, err
				}
				defer full.Close()
			}
			r, err = full.ExecContext(ctx, part...)
		}
		if err != nil {
			return 0, err
		}
		n, err := r.RowsAffected()
		if err != nil {
			return 0, err
		}
		rows += n
	}
	return rows, nil
}

// values returns rows of placeholders: "($1, $2), ($3, $4)".
func values(rows, columns int) string {
	var b strings.Builder
	for i := range rows * columns {
		switch {
		case i == 0:
			b.WriteByte('(')
		case i%columns == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(i + 1))
	}
	b.WriteByte(')')
	return b.String()
}

// checkText refuses what PostgreSQL cannot keep, on both databases, and what is too long for a line.
func checkText(field, s string, limit int) error {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) || len(s) > limit {
		return fmt.Errorf("%w: %s %.70q: want UTF-8 without NUL, up to %d bytes", ErrInvalid, field, s, limit)
	}
	return nil
}

// maxText bounds names of people, titles and the like, in bytes.
const maxText = 256

// nano and moment are times in the database.
func nano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// decimal is a time as Page.After has it.
func decimal(t time.Time) string { return strconv.FormatInt(nano(t), 10) }

func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
