package envelope

// Scratches returns up to n buffers from the pool, at their full capacity.
func Scratches(n int) [][]byte {
	var out [][]byte
	for range n {
		s := scratches.Get().(*scratch)
		out = append(out, s.buf[:cap(s.buf)])
	}
	return out
}
