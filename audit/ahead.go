package audit

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"slices"
	"sync"
)

// aheadBlock is how many bytes are read and worked on at a time.
const aheadBlock = 512 << 10

// ahead reads lines before they are asked for, and has several goroutines work on them: what can be said of each line by
// itself, such as its hash, costs more than what needs their order. It must be closed.
type ahead[T any] struct {
	work   func() func(line []byte) T // makes one for each goroutine
	blocks chan *block[T]             // in order
	stop   context.CancelFunc
	tasks  sync.WaitGroup
	free   sync.Pool
	now    *block[T]
	at     int
}

// block is a piece of the file: whole lines, and in the last one perhaps the beginning of another.
type block[T any] struct {
	data  []byte
	lines [][]byte // with their newlines
	facts []T
	rest  []byte
	err   error // behind the lines
	done  chan struct{}
}

// newAhead begins to read r. Work makes a function for each goroutine, which is called for each line without its newline. What it
// returns may refer to the line, and is valid as long.
func newAhead[T any](ctx context.Context, r io.Reader, work func() func(line []byte) T) *ahead[T] {
	ctx, stop := context.WithCancel(ctx)
	n := runtime.GOMAXPROCS(0)
	a := &ahead[T]{work: work, blocks: make(chan *block[T], n), stop: stop}
	todo := make(chan *block[T], n)
	a.tasks.Go(func() {
		defer close(a.blocks)
		defer close(todo)
		a.feed(ctx, r, todo)
	})
	for range n {
		a.tasks.Go(func() {
			f := a.work()
			for b := range todo {
				for _, line := range b.lines {
					b.facts = append(b.facts, f(line[:len(line)-1]))
				}
				close(b.done)
			}
		})
	}
	return a
}

// feed cuts the file into blocks.
func (a *ahead[T]) feed(ctx context.Context, r io.Reader, todo chan<- *block[T]) {
	var left []byte
	for {
		b, _ := a.free.Get().(*block[T])
		if b == nil {
			b = &block[T]{}
		}
		*b = block[T]{data: b.data[:0], lines: b.lines[:0], facts: b.facts[:0], done: make(chan struct{})}
		b.fill(r, left)
		left = b.rest
		for _, ch := range []chan<- *block[T]{todo, a.blocks} { // in this order: somebody works on what is in blocks
			select {
			case ch <- b:
			case <-ctx.Done():
				return
			}
		}
		if b.err != nil {
			return
		}
	}
}

// fill reads one block, which begins with what the one before left over, and splits it into lines.
func (b *block[T]) fill(r io.Reader, left []byte) {
	b.data = append(b.data, left...)
	end := 0 // of the whole lines
	for b.err == nil && (len(b.data) < aheadBlock || end == 0) {
		if end == 0 && len(b.data) > maxLine {
			b.err = errLongLine
			break
		}
		n := len(b.data)
		if cap(b.data)-n < 64<<10 { // doubled, so that a small segment costs little memory
			b.data = slices.Grow(b.data, max(64<<10, n))
		}
		var read int
		read, b.err = r.Read(b.data[n:cap(b.data)])
		b.data = b.data[:n+read]
		if i := bytes.LastIndexByte(b.data[n:], '\n'); i >= 0 {
			end = n + i + 1
		}
	}
	for line := range bytes.Lines(b.data[:end]) {
		b.lines = append(b.lines, line)
	}
	b.rest = b.data[end:]
}

// next returns the next line with its newline and what was worked out of it, or what is left with io.EOF, as lineReader does.
// The line is valid until the next call.
func (a *ahead[T]) next() (line []byte, fact T, err error) {
	for a.now == nil || a.at == len(a.now.lines) {
		if a.now != nil && a.now.err != nil {
			return a.now.rest, fact, a.now.err
		}
		b, ok := <-a.blocks
		if !ok {
			return nil, fact, context.Canceled
		}
		<-b.done
		if a.now != nil {
			a.free.Put(a.now)
		}
		a.now, a.at = b, 0
	}
	a.at++
	return a.now.lines[a.at-1], a.now.facts[a.at-1], nil
}

// close ends all goroutines.
func (a *ahead[T]) close() {
	a.stop()
	for range a.blocks { // whose last one may be waited with
	}
	a.tasks.Wait()
}
