package scale

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Table is a table of docs/scale.md.
type Table struct {
	Name string
	Text string // in Markdown
}

// Tables returns the tables that can be made of the rows.
func Tables(rows []Row) (tables []Table) {
	for _, t := range []struct {
		name string
		make func([]Row) string
	}{
		{"transfer", transferTable}, {"uses", transferTable}, {"event", eventTable}, {"large", largeTable}, {"grid", gridTable}, {"sender", senderTable},
		{"parity", parityTable},
	} {
		if rows := of(rows, t.name); len(rows) > 0 {
			tables = append(tables, Table{t.name, t.make(rows)})
		}
	}
	return tables
}

// of returns the rows of a suite.
func of(rows []Row, suite string) []Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Suite != suite })
}

// markdown writes a table: the columns to the right of the first bar are numbers.
func markdown(head string, lines []string) string {
	bars := strings.Repeat(" --- |", strings.Count(head, "|")-1)
	return head + "\n|" + bars + "\n" + strings.Join(lines, "\n") + "\n"
}

// thousands writes a number with commas.
func thousands[N int | int64 | uint64](n N) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func transferTable(rows []Row) string {
	var lines []string
	for _, r := range rows {
		lines = append(lines, fmt.Sprintf("| %s × %g MB, %g Mbit/s | %v | %s | %d in %d | %s | %.3f | %.2f s | %.2f s | %.2f s | %.2f s | %s | %d MiB | %s |",
			thousands(r.Receivers), float64(r.Size)/1e6, r.Rate/1e6, r.Loss, thousands(r.Complete), r.Nacks, r.Events, thousands(r.Feedback), r.Overhead, r.Sent,
			r.Tail[0], r.Tail[2], r.Tail[len(r.Tail)-1], thousands(r.Active), r.System>>20, thousands(r.Handled)))
	}
	return markdown("| Receivers | Loss | Verified | NACKs in events | Bytes of feedback | Sent per segment | All sent | Half complete | 99 % | Last | Bytes each, at most | Process | Datagrams handled |", lines)
}

// median returns the one in the middle.
func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

// byReceivers returns the rows of each size of group, which follow each other.
func byReceivers(rows []Row) (groups [][]Row) {
	for _, r := range rows {
		if last := len(groups) - 1; last >= 0 && groups[last][0].Receivers == r.Receivers {
			groups[last] = append(groups[last], r)
		} else {
			groups = append(groups, []Row{r})
		}
	}
	return groups
}

// perEvent returns the NACKs for each event in each of the rows.
func perEvent(rows []Row) (values []float64) {
	for _, r := range rows {
		values = append(values, r.PerEvent)
	}
	return values
}

func eventTable(rows []Row) string {
	var lines []string
	for _, group := range byReceivers(rows) {
		var seeds []string
		for _, v := range perEvent(group) {
			seeds = append(seeds, fmt.Sprintf("%.2f", v))
		}
		lines = append(lines, fmt.Sprintf("| %s | **%.2f** | %s | %.2f | %.2f |",
			thousands(group[0].Receivers), median(perEvent(group)), strings.Join(seeds, ", "), group[0].RFC, group[0].Exact))
	}
	return markdown("| Receivers | NACKs per repair event, median | of each seed | RFC 5401 | its backoff exactly |", lines)
}

func feedbackName(r Row) string {
	if r.Unicast {
		return "unicast"
	}
	return "multicast"
}

func largeTable(rows []Row) string {
	var lines []string
	for _, r := range rows {
		lines = append(lines, fmt.Sprintf("| %v | %d | %s | %s | %.1f | %d | %.1f | %.1f | %d | %.3f | %.1f s | %.1f s |",
			r.Loss, r.K, thousands(r.GroupSize), feedbackName(r), r.PerEvent, r.Events, r.RFC, r.Exact, r.Ignored, r.Overhead,
			r.Tail[2], r.Tail[len(r.Tail)-1]))
	}
	return markdown("| Loss | K | gsize | Feedback | NACKs per event | Events | RFC 5401 | its backoff | Too late | Sent per segment | 99 % complete | Last |", lines)
}

// gridTable has a line for each loss and size of group, and a column for each K and group size that the sender says.
func gridTable(rows []Row) string {
	type key struct {
		loss      Loss
		receivers int
		unicast   bool
	}
	var order []key
	cells := make(map[key][]string)
	for _, r := range rows {
		k := key{r.Loss, r.Receivers, r.Unicast}
		if cells[k] == nil {
			order = append(order, k)
		}
		cells[k] = append(cells[k], fmt.Sprintf("%.1f", r.PerEvent))
	}
	slices.SortStableFunc(order, func(a, b key) int {
		byLoss := cmp.Or(cmp.Compare(a.loss.Kind, b.loss.Kind), cmp.Compare(a.loss.Share, b.loss.Share))
		if a.unicast != b.unicast {
			byLoss = -1
			if a.unicast {
				byLoss = 1
			}
		}
		return cmp.Or(byLoss, cmp.Compare(a.receivers, b.receivers))
	})
	var lines []string
	for _, k := range order {
		lines = append(lines, fmt.Sprintf("| %s | %v | %s | %s |", feedbackName(Row{Unicast: k.unicast}), k.loss,
			thousands(k.receivers), strings.Join(cells[k], " | ")))
	}
	head := "| Feedback | Loss | Receivers |"
	for _, k := range gridK {
		head += fmt.Sprintf(" K=%d right | ÷100 | ×100 |", k)
	}
	return markdown(head, lines)
}

func senderTable(rows []Row) string {
	var lines []string
	for _, r := range rows {
		w := r.Work
		lines = append(lines, fmt.Sprintf("| %s | %.0f | %.1f | %.1f | %d | %s |", thousands(r.Receivers), float64(w.Calls)/w.Seconds,
			float64(w.Sent)/w.Seconds, float64(w.Handled)/w.Seconds, w.Mallocs, thousands(w.Heap)))
	}
	return markdown("| Receivers | Calls a second | Datagrams sent a second | Datagrams handled a second | Allocations | Bytes held |", lines)
}

func parityTable(rows []Row) string {
	var lines []string
	for _, r := range rows {
		parity := fmt.Sprintf("%d a block", r.Parity)
		switch r.Parity {
		case noParity:
			parity = "none"
		case 0:
			parity = "adaptive"
		}
		lines = append(lines, fmt.Sprintf("| %s × %g MB | %s | %d | %d | %.1f | %.3f | %.2f s | %.2f s |", thousands(r.Receivers), float64(r.Size)/1e6, parity, r.Nacks,
			r.Events, r.PerEvent, r.Overhead, r.Tail[2], r.Tail[len(r.Tail)-1]))
	}
	return markdown("| Receivers | Proactive parity | NACKs | Events | NACKs per event | Sent per segment | 99 % complete | Last |", lines)
}
