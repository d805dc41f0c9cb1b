package audit

import (
	"io"
	"os"
	"sync/atomic"
)

// meter tells a filter's Progress how far reading a log has come. It counts in the goroutine that reads, which is ahead, and
// tells in the one that asks for entries: of several logs one reads beside another, and Progress is not called by two at once.
type meter struct {
	report      func(done, total int64)
	done        atomic.Int64
	told, total int64
}

// tell reports what was read since it was told.
func (m *meter) tell() {
	if m == nil {
		return
	}
	if done := m.done.Load(); done != m.told {
		m.told = done
		m.report(done, max(done, m.total))
	}
}

func newMeter(filter *Filter, dir string, segments []int64, skip []bool) *meter {
	if filter == nil || filter.Progress == nil {
		return nil
	}
	m := &meter{report: filter.Progress}
	for i, first := range segments {
		if skip[i] {
			continue
		}
		for _, name := range []string{segmentPath(dir, first), compressedPath(dir, first)} {
			if info, err := os.Lstat(name); err == nil {
				m.total += info.Size()
				break
			}
		}
	}
	return m
}

// reader counts what is read of r.
func (m *meter) reader(r io.Reader) io.Reader {
	if m == nil {
		return r
	}
	return &meteredReader{r, m}
}

type meteredReader struct {
	r io.Reader
	m *meter
}

func (r *meteredReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.m.done.Add(int64(n))
	return n, err
}

// share returns a filter for each of n logs whose progress adds up to that of filter.
func (f *Filter) share(n int) []*Filter {
	filters := make([]*Filter, n)
	if f == nil || f.Progress == nil {
		for i := range filters {
			filters[i] = f
		}
		return filters
	}
	done, total := make([]int64, n), make([]int64, n)
	for i := range filters {
		one := *f
		one.Progress = func(d, t int64) {
			done[i], total[i] = d, t
			var allDone, all int64
			for j := range done {
				allDone, all = allDone+done[j], all+total[j]
			}
			f.Progress(allDone, all)
		}
		filters[i] = &one
	}
	return filters
}
