package natstest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/natslog"
)

// relay is a line to a node that passes on what the client says, and what the server says, as it is told.
func relay(t *testing.T, port int, client, server func(to io.Writer, from io.Reader)) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
			if err != nil {
				near.Close()
				continue
			}
			go func() { client(far, near); far.Close() }()
			go func() { server(near, far); near.Close() }()
		}
	}()
	return listener.Addr().String()
}

func asItIs(to io.Writer, from io.Reader) { io.Copy(to, from) }

// lagging is a line from a node, to a sealer, whose replica has not got one message yet: it hands out what is behind that, and counts what it
// hands out. It does so once.
func lagging(t *testing.T, port int, sequence uint64) (addr string, leftOut <-chan struct{}) {
	t.Helper()
	done := make(chan struct{})
	return relay(t, port, asItIs, func(to io.Writer, from io.Reader) { leaveOut(to, from, sequence, done) }), done
}

// leaveOut relays what a server says. Messages of a consumer have a reply subject of nine tokens that ends in the numbers of deliveries, in the stream,
// in the consumer, the time and how many wait (ADR-15).
func leaveOut(to io.Writer, from io.Reader, sequence uint64, done chan struct{}) {
	r := bufio.NewReader(from)
	fewer := 0
	for {
		line, fields, payload, err := frame(r)
		if err != nil {
			return
		}
		if len(fields) > 3 && (fields[0] == "MSG" || fields[0] == "HMSG") {
			tokens := strings.Split(fields[3], ".")
			if len(tokens) == 9 && tokens[0] == "$JS" && tokens[1] == "ACK" {
				n, _ := strconv.Atoi(tokens[6])
				if n == 1 {
					fewer = 0 // another consumer
				}
				if tokens[5] == strconv.FormatUint(sequence, 10) {
					select {
					case <-done:
					default:
						fewer = 1
						close(done)
						continue
					}
				}
				tokens[6] = strconv.Itoa(n - fewer)
				fields[3] = strings.Join(tokens, ".")
				line = []byte(strings.Join(fields, " ") + "\r\n")
			}
		}
		if _, err := to.Write(append(bytes.Clone(line), payload...)); err != nil {
			return
		}
	}
}

// frame reads what is said next, with its payload: https://docs.nats.io/reference/reference-protocols/nats-protocol.
func frame(r *bufio.Reader) (line []byte, fields []string, payload []byte, err error) {
	if line, err = r.ReadBytes('\n'); err != nil {
		return nil, nil, nil, err
	}
	if fields = strings.Fields(string(line)); len(fields) > 0 && slices.Contains([]string{"MSG", "HMSG", "PUB", "HPUB"}, fields[0]) {
		var size int
		if size, err = strconv.Atoi(fields[len(fields)-1]); err == nil {
			payload = make([]byte, size+2)
			_, err = io.ReadFull(r, payload)
		}
	}
	return line, fields, payload, err
}

// TestRightsThatNobodyAnswersAreAskedAgain: a request that reaches a stream while its leader changes is lost, and is no reason not to open.
func TestRightsThatNobodyAnswersAreAskedAgain(t *testing.T) {
	tr := newTrail(t)
	lost := make(chan string, 1)
	addr := relay(t, tr.ports[0], func(to io.Writer, from io.Reader) {
		for r := bufio.NewReader(from); ; {
			line, fields, payload, err := frame(r)
			if err != nil {
				return
			}
			if len(fields) > 3 && fields[0] == "HPUB" && strings.HasSuffix(fields[1], ".event.probe") {
				select {
				case lost <- fields[1]:
					continue
				default:
				}
			}
			if _, err := to.Write(append(bytes.Clone(line), payload...)); err != nil {
				return
			}
		}
	}, asItIs)
	s := tr.open(t, strings.Replace(strings.Split(tr.recorder(), ",")[0], fmt.Sprint("127.0.0.1:", tr.ports[0]), addr, 1), time.Minute)
	if len(lost) != 1 {
		t.Fatal("no request was lost")
	}
	record(t, s, "recorded")
}

// TestLeftOutBetweenOtherKeys: an event that a replica leaves out is asked for, also where messages under another key stand around it in its
// recorder's own subject. What was taken for a gap would be one for ever, and the event, which was acknowledged, deleted.
func TestLeftOutBetweenOtherKeys(t *testing.T) {
	for _, before := range []int{0, 100} { // so many that what is remembered of each is too much
		t.Run(fmt.Sprint(before), func(t *testing.T) { leftOutBetweenOtherKeys(t, before) })
	}
}

func leftOutBetweenOtherKeys(t *testing.T, before int) {
	tr, dir := newTrail(t), newDir(t)
	l := openLog(t, dir)
	s := tr.open(t, tr.recorder(), time.Minute)
	record(t, s, "first")
	all := tr.messages(t)
	own := all[len(all)-1]
	strange := func(id string) {
		t.Helper()
		m := &nats.Msg{Subject: own.Subject, Data: own.Data, Header: nats.Header{}}
		for name, values := range own.Header {
			if strings.HasPrefix(name, "Strongroom-") {
				m.Header[name] = slices.Clone(values)
			}
		}
		m.Header.Set("Strongroom-Key", "4711")
		m.Header.Set(nats.MsgIdHdr, id)
		_, err := tr.js.PublishMsg(t.Context(), m)
		must(t, err)
	}
	want := []string{"first"}
	for i := range before {
		strange(fmt.Sprint("before", i))
		record(t, s, fmt.Sprint("own", i))
		want = append(want, fmt.Sprint("own", i))
	}
	events := 0
	if before > 0 {
		sealer, err := natslog.OpenSealer(t.Context(), tr.sealer(), l, tr.sealOptions())
		must(t, err)
		events = roundsFor(t, sealer, before+2).Events
		must(t, sealer.Close())
	}
	strange("one")
	record(t, s, "left out")
	want = append(want, "left out", "last")
	strange("two")
	record(t, s, "last")
	must(t, s.Close())
	all = tr.messages(t)
	missing := uint64(0)
	for i, m := range all {
		if i > 0 && all[i-1].Header.Get(nats.MsgIdHdr) == "one" {
			missing = m.Sequence
		}
	}
	addr, leftOut := lagging(t, tr.ports[0], missing)
	server := strings.Replace(strings.Split(tr.sealer(), ",")[0], fmt.Sprint("127.0.0.1:", tr.ports[0]), addr, 1)
	if !strings.Contains(server, addr) || missing == 0 {
		t.Fatalf("%s is not by the line, or no message %d", server, missing)
	}
	sealer, err := natslog.OpenSealer(t.Context(), server, l, tr.sealOptions())
	must(t, err)
	for try := 0; events < before+5 && try < 200; try++ { // with the recorder's beginning and end
		sealed, err := sealer.Round(t.Context())
		if err != nil {
			t.Log(err)
		}
		events += sealed.Events
		time.Sleep(20 * time.Millisecond)
	}
	select {
	case <-leftOut:
	default:
		t.Fatal("nothing was left out")
	}
	must(t, sealer.Close())
	must(t, l.Close())
	report, err := audit.Verify(t.Context(), dir, nil)
	if err != nil || report.Missing != 0 || report.OpenStreams != 0 {
		t.Errorf("%v\n%s", err, report)
	}
	var names []string
	for _, e := range read(t, dir, &audit.Filter{Code: audit.CodeQuery}) {
		names = append(names, e.Request)
	}
	if got := strings.Join(names, ", "); got != strings.Join(want, ", ") {
		t.Errorf("the log has %s", got)
	}
}
