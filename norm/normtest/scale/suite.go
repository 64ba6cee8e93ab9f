package scale

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/multicast-upgrade/tool/norm"
	"github.com/multicast-upgrade/tool/norm/fec"
)

// Suites are the measurements of docs/scale.md by name.
var Suites = map[string][]Config{
	"transfer": {
		transfer(10_000, 20e6, 10e6, Loss{LossIndependent, 0.01}, noParity),
		transfer(100_000, 2e6, 10e6, Loss{LossIndependent, 0.01}, noParity),
	},
	// 2,000 phones on a campus, and as many devices in 100 branches behind lines of 2 Mbit/s, which the session leaves room on.
	"uses": {
		transfer(2000, 20e6, 20e6, Loss{LossIndependent, 0.001}, noParity),
		transfer(2000, 20e6, 1.6e6, Loss{LossTree, 0.01}, noParity),
	},
	"parity": paritySuite(),
	"event":  eventSuite(),
	"grid":   gridSuite(),
	"large":  largeSuite(),
	"sender": senderSuite(),
}

// noParity is the [norm.SenderConfig].AutoParity of a sender that sends no parity unasked. Zero leaves it to the sender.
const noParity = -1

// transfer is a session of an object to be had by all.
func transfer(receivers int, size int64, rate float64, loss Loss, parity int) Config {
	return Config{Receivers: receivers, Size: size, Loss: loss, Seed: 1, Sender: norm.SenderConfig{Rate: rate, AutoParity: parity}}
}

// paritySuite is independent loss, with more and more parity sent unasked behind each block, or as much as the sender thinks
// right, for which it needs many blocks.
func paritySuite() (configs []Config) {
	for _, receivers := range []int{1000, 10_000} {
		for _, parity := range []int{noParity, 1, 2, 4, 6} {
			configs = append(configs, transfer(receivers, 2e6, 10e6, Loss{LossIndependent, 0.01}, parity))
		}
	}
	for _, parity := range []int{noParity, 4, 0} {
		configs = append(configs, transfer(1000, 20e6, 10e6, Loss{LossIndependent, 0.01}, parity))
	}
	return configs
}

// SuiteNames returns their names.
func SuiteNames() string {
	var names []string
	for name := range Suites {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// eventConfig is a session in which repair events are apart from each other, so that each can be counted: one of four short
// blocks lacks a segment, everywhere, and in the time of four blocks, 2.5 s, a cycle is over. There are 16 of them.
func eventConfig(receivers int, seed uint64) Config {
	return Config{
		Receivers: receivers, Size: 61 * 8 * 1400, Loss: Loss{Kind: LossEvent}, Seed: seed,
		Sender: norm.SenderConfig{
			Rate: 150e3, AutoParity: noParity, ProbeInterval: time.Second,
			FEC: fec.Params{ID: fec.ReedSolomonGF8, MaxBlockLen: 8, MaxParity: 4},
		},
	}
}

// eventSuite is the case that RFC 5401's prediction is for.
func eventSuite() (configs []Config) {
	for _, receivers := range []int{10, 100, 1000, 10_000, 100_000} {
		for seed := range uint64(5) {
			configs = append(configs, eventConfig(receivers, seed+1))
		}
	}
	return configs
}

// base is what is varied in the other suites: five blocks over a line of 2 Mbit/s.
func base(receivers, k, groupSize int, loss Loss, unicast bool) Config {
	return Config{
		Receivers: receivers, Size: 450_000, Loss: loss, Unicast: unicast, Seed: 1,
		Sender: norm.SenderConfig{Rate: 2e6, AutoParity: noParity, BackoffFactor: k, GroupSize: groupSize},
	}
}

// gridK are the values of K_sender in the grid, in the order of the columns of its table.
var gridK = [...]int{2, 4, 6}

// gridSuite varies everything at once.
func gridSuite() (configs []Config) {
	for _, receivers := range []int{10, 100, 1000} {
		for _, k := range gridK {
			for _, size := range []int{receivers, max(receivers/100, 1), receivers * 100} {
				for _, loss := range []Loss{
					{LossEvent, 0}, {LossGroup, 0.01}, {LossTree, 0.01}, {LossTree, 0.2}, {LossBurst, 0.01}, {LossBurst, 0.2},
					{LossIndependent, 0.001}, {LossIndependent, 0.01}, {LossIndependent, 0.05}, {LossIndependent, 0.2},
				} {
					for _, unicast := range []bool{false, true} {
						configs = append(configs, base(receivers, k, size, loss, unicast))
					}
				}
			}
		}
	}
	return configs
}

// largeSuite varies one thing at a time.
func largeSuite() []Config {
	const n = 100_000
	one := Loss{LossIndependent, 0.01}
	return []Config{
		base(n, 4, n, one, false),
		base(n, 4, n, Loss{LossIndependent, 0.001}, false),
		base(n, 4, n, Loss{LossIndependent, 0.05}, false),
		base(n, 4, n, Loss{LossIndependent, 0.2}, false),
		base(n, 4, n, Loss{LossGroup, 0.01}, false),
		base(n, 4, n, Loss{LossTree, 0.01}, false),
		base(n, 4, n, Loss{LossBurst, 0.01}, false),
		base(n, 2, n, one, false),
		base(n, 6, n, one, false),
		base(n, 4, n/100, one, false),
		base(n, 4, n*100, one, false),
		base(n, 4, n, one, true),
	}
}

// senderSuite measures what a session costs its sender where the demand for repair is the same for each size of group.
func senderSuite() (configs []Config) {
	for _, receivers := range []int{10, 100, 1000, 10_000, 100_000} {
		c := base(receivers, 4, receivers, Loss{Kind: LossEvent}, false)
		c.Size, c.Record = 1e6, true
		configs = append(configs, c)
	}
	return configs
}

// RunSuite runs the sessions of a suite in order, or the one of that number, counted from 1, and gives done the row of each.
func RunSuite(name string, number int, done func(Row) error) error {
	configs, ok := Suites[name]
	switch {
	case !ok:
		return fmt.Errorf("%w: suite %q: want one of %s", ErrConfig, name, SuiteNames())
	case number < 0 || number > len(configs):
		return fmt.Errorf("%w: row %d: suite %s has 1 to %d", ErrConfig, number, name, len(configs))
	case number > 0:
		configs = configs[number-1 : number]
	}
	for _, c := range configs {
		row, err := RunRow(name, c)
		if err == nil {
			err = done(row)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// RunRow runs one session, and measures its sender alone if the session is to be recorded.
func RunRow(suite string, c Config) (Row, error) {
	r, err := Run(c)
	if err != nil {
		return Row{}, err
	}
	row := r.Row(suite)
	if c.Record {
		w, err := r.Replay()
		if err != nil {
			return row, err
		}
		row.Work = &w
	}
	return row, nil
}
