// Package normtest runs NORM sessions in virtual time, for tests: of package norm, and of whoever builds on it.
//
// # The network
//
// A [Net] carries datagrams between hosts, with loss, delay, jitter, reordering, duplication and queues, all drawn from
// one seed. On a [Host] runs any [Node]; [Net.AddSender] and [Net.AddReceiver] put the real state machines there, with
// files ([Memory], [Pattern]) for their objects. Time stands still until [Net.Run].
//
//	net := normtest.New(7)
//	s, err := net.AddSender("s", nil, normtest.Link{}, normtest.Link{}, norm.SenderConfig{Node: 1})
//	r, err := net.AddReceiver("r", nil, normtest.Link{}, normtest.Link{Loss: normtest.Random(0.1)}, norm.ReceiverConfig{Node: 2})
//	_, _, err = s.Send(norm.Object{Size: 1 << 20}, nil)
//	done := net.RunUntil(time.Minute, func() bool { return r.Completed() == 1 })
//
// A [Crowd] is a place of many receivers, tens of thousands, which cost little beside their own state. Package
// norm/normtest/scale measures with it.
//
// # Scripts
//
// A script is a text file of commands and what they print, so that a scenario of the RFC can be read aloud;
// [RunScripts] runs them, and rewrites what they print with the flag -update.
//
//	# The last segment is lost: the FLUSH tells (RFC 5740, Section 4.2.3.1).
//	group receivers=1 k=4 grtt=100ms seed=7
//	send data=8 lose=0:7@r1
//	run 1s
//	----
//	+5ms s > CMD(FLUSH) 1/0/7
//	+217ms ... 1 more
//	+424ms r1 > NACK segment 1/0/8      # asks for the first parity symbol
//	+428ms s > CMD(FLUSH) 1/0/7
//
// Commands stand one a line, the lines of their [Trace] below "----", and an empty line ends the block. "#" at the start
// of a line or behind a space begins a comment, also in the expected lines, where -update keeps it. Objects are named
// by their NormTransportId, segments by object/block/symbol, hosts by name. The commands:
//
//	group KEY=…            a new network with the sender s and the receivers r1, r2, …; begins a script. Keys: receivers, seed,
//	                       trace (kinds of lines), those of a sender, those of a receiver with "r." before them, those of a
//	                       link (for the way to each receiver; delay is half of grtt unless given), and of the network: joins, leaves
//	                       (how long it takes to bring the repair group to a host, and to end that). The word alone leaves out
//	                       s and the receivers; with the word auth all nodes but strangers share a group key.
//	sender NAME KEY=…      another sender. Keys: node instance first k grtt mingrtt maxgrtt gsize robust rate segment autoparity
//	                       probe maxobjects maxbytes flow track (none, receivers, all) tracked buffer code (K,P; 129:K,P; none:K) site repairgroup (no, yes). The code is 8,4 unless given.
//	                       With rate=auto (NORM-CC) also: start least most (rates) plr (node ids)
//	receiver NAME KEY=…    another receiver. Keys: node sender join (current, object, stream, all) patience (no, yes) robust maxsenders
//	                       maxobjects maxsize buffer streambuffer least (rate) site feedback (auto, group, unicast) guard (silence,
//	                       always, never) nack (all, info, none) boundary (block, object) silent (no, yes) maxdelay purge
//	                       maxsuppressed repairgroup (no, yes), and those of a link; word live
//	kill NAME              the node vanishes      restart NAME KEY=…  it is back without its memory; a sender with the next instance_id
//	move NAME ADDRESS:PORT a host is seen at another address, and lost at its old one
//	detach NAME…           the cable is out       attach NAME…        and in again
//	site NAME KEY=…        a part of the network behind a link of its own
//	link NAME [up] KEY=…   changes the link to a host or site, or with the word up from it. Keys: jitter loss bursts (BEGIN,END)
//	                       duplicate reorder late bandwidth queue; delay of sites only
//	drop TEXT… at=… skip=N count=N    loses messages that are called TEXT or more, at the named hosts or all; "*" at the end is any rest
//	allow                  ends all drop
//	send KEY=…             enqueues an object. Keys: from size, or data (in segments), kind info object (the id it must get)
//	                       lose=BLOCK:SYMBOL@HOST,…;info@HOST,… (the first transmission); words pinned, repair-only
//	cancel object=N   flush   end   rate BPS      as the methods of a Sender; from=NAME if it is not s
//	expect R object=N KEY=…           Receiver.Expect; keys size, or data, kind, from; word info
//	present R object=N range=OFFSET+LENGTH        Receiver.Present
//	reject R object=N range=OFFSET+LENGTH         Receiver.RejectRange
//	watermark nodes=R,NODE,NODE-NODE      Sender.SetWatermark; keys object from, word override; nodes may be left out
//	ackreq type=N nodes=…  Sender.RequestAcks     command TEXT         Sender.Command; key from, word once
//	answer R type=N TEXT   Receiver.Answer        acknowledge R type=N id=N TEXT   Receiver.Acknowledge; key from
//	abort R object=N       Receiver.Abort         refuse R            refuses what it is offered from now on
//	stream KEY=…           Sender.OpenStream. Keys: from buffer (in bytes) info block offset (of its beginning); word push
//	write object=N KEY=…   to a stream. Keys: size, or data (in segments); words for what follows, in this order: message (ends), passive or
//	                       flush, end (of the stream)
//	hold R                 a receiver reads streams as soon as it can, but not from now on
//	read R                 and from now on again
//	leave R                Receiver.Leave
//	inject WHO HEX…        a stranger sends a datagram to the group      garbage WHO count=N    … of random bytes
//	nack WHO REQUEST, …    … a NACK, in the words of a trace: segment 1/0/8-10, block 1/2; keys node server instance from
//	ack WHO 1/0/7          … an ACK of a watermark, or with type= and id= of another request; keys node server instance from count
//	eot WHO                … an EOT in the name of a sender; keys instance from
//	trace +KIND -KIND      what a run prints: data repair info flush eot squelch cc repair_adv nack ack other lost event begin written read count
//	run D [until complete] time passes; with the words, until each receiver has what each sender sent, which it must within D
//	show stats NODE FIELD…            counters of SenderStats or ReceiverStats
//	show objects R…        what receivers have
package normtest
