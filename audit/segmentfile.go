package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// A segment that nothing is appended to any more may be compressed: one frame of Zstandard (RFC 8878) that states the length
// of its content, in a file of its own. Leaf hashes are of the lines, and so are all proofs; of the compressed file's bytes
// nothing is recorded.
const (
	// maxSegment bounds what a compressed segment may hold: no segment is longer, but for one that has a single event.
	maxSegment = 64<<20 + maxLine
	// maxWindow bounds the memory of a decoder, and is what the encoder keeps to.
	maxWindow = 4 << 20
	// compressing is a segment on its way to the compressed form. It is outside of the segments' directory, where every file
	// is looked at.
	compressing = "segment.zst" + temporary
)

// segmentReader reads the lines of a segment, in whichever form it stands in the directory.
type segmentReader struct {
	io.Reader
	name       string // path
	compressed bool
	size       int64 // bytes of the file
	content    int64 // bytes of the lines
	wrap       func(io.Reader) io.Reader
	file       vfs.File
	source     *sourceReader
	decoder    *zstd.Decoder
}

// openSegment opens the segment that begins with event first. The file is read through wrap; of a segment that is not
// compressed it is at most limit bytes. The error wraps [fs.ErrNotExist] where there is none.
//
// Compressing replaces the one form by the other while logs are read, so the one that is made later is looked for later.
func openSegment(fsys vfs.FS, dir string, first, limit int64, wrap func(io.Reader) io.Reader) (*segmentReader, error) {
	s := &segmentReader{name: segmentPath(dir, first), wrap: wrap}
	var err error
	if s.file, err = fsys.OpenFile(s.name, os.O_RDONLY, 0); errors.Is(err, fs.ErrNotExist) {
		s.name, s.compressed = compressedPath(dir, first), true
		s.file, err = fsys.OpenFile(s.name, os.O_RDONLY, 0)
	}
	if err != nil {
		return nil, err
	}
	info, err := s.file.Stat()
	if err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	s.size = info.Size()
	if !s.compressed {
		s.size = min(s.size, limit)
	}
	s.content, s.source = s.size, &sourceReader{r: wrap(io.NewSectionReader(s.file, 0, s.size))}
	if s.Reader = s.source; s.compressed {
		if err := s.decode(); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// skip passes over the first n bytes of the lines.
func (s *segmentReader) skip(n int64) error {
	if s.compressed {
		_, err := io.CopyN(io.Discard, s.Reader, n)
		return err
	}
	if n > s.size {
		return io.EOF
	}
	s.source.r = s.wrap(io.NewSectionReader(s.file, n, s.size-n))
	return nil
}

func (s *segmentReader) Close() error {
	if s.decoder != nil {
		s.decoder.Close()
	}
	return s.file.Close()
}

// damaged tells whether an error of reading is about what the file holds, and not about reading it.
func (s *segmentReader) damaged() bool { return s.compressed && s.source.err == nil }

var errFrame = errors.New("it is not one frame that states its length, as a compressed segment is, or too long for one")

// decode makes the reader one of the content. A file that somebody else made holds no more than a segment does, whatever
// it says, and takes no more memory.
func (s *segmentReader) decode() error {
	var front [zstd.HeaderMaxSize]byte
	n, err := s.file.ReadAt(front[:], 0)
	if err != nil && err != io.EOF {
		s.source.err = err
		return err
	}
	var h zstd.Header
	if h.Decode(front[:n]) != nil || h.Skippable || !h.HasFCS || h.FrameContentSize > maxSegment || h.WindowSize > maxWindow && !h.SingleSegment {
		return &frameError{s.name, errFrame}
	}
	s.decoder, err = zstd.NewReader(s.source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxSegment))
	if err != nil {
		if s.source.err != nil {
			return err
		}
		return &frameError{s.name, err}
	}
	s.content = int64(h.FrameContentSize)
	s.Reader = &frameReader{s.decoder, s.content}
	return nil
}

// frameError is about a compressed segment that is none.
type frameError struct {
	name string
	err  error
}

func (e *frameError) Error() string { return filepath.Base(e.name) + ": " + e.err.Error() }
func (e *frameError) Unwrap() error { return e.err }

// frameReader reads a frame's content, of which there is as much as it says.
type frameReader struct {
	r    io.Reader
	left int64
}

func (f *frameReader) Read(p []byte) (int, error) {
	if f.left == 0 {
		var more [1]byte
		n, err := io.ReadFull(f.r, more[:])
		if n > 0 {
			err = errFrame
		}
		return 0, err
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.left)])
	if f.left -= int64(n); err == io.EOF && f.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// sourceReader remembers that reading the file failed.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// compressSegment gives a segment its compressed form. Nothing may be appended to it any more, and its leaf hashes be
// complete. The files are read through wrap. The compressed file is read again and compared with the leaf hashes before it gets
// its name, and is on the disk under that before the lines are removed; interrupted at any step, it may be done again. An error
// that wraps [ErrTampered] tells of lines that are not those that were recorded: they stay as they are.
func compressSegment(fsys vfs.FS, dir string, first int64, wrap func(io.Reader) io.Reader) (err error) {
	name, tmp := segmentPath(dir, first), filepath.Join(dir, compressing)
	from, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil || info.Size() > maxSegment {
		return err
	}
	to, err := fsys.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, to.Close())
		if err != nil {
			err = errors.Join(err, ignoreMissing(fsys.Remove(tmp)))
		}
	}()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(maxWindow), zstd.WithEncoderCRC(true))
	if err != nil {
		return err
	}
	enc.ResetContentSize(to, info.Size())
	if _, err := io.Copy(enc, wrap(io.NewSectionReader(from, 0, info.Size()))); err != nil {
		return errors.Join(err, enc.Close())
	}
	if err := enc.Close(); err != nil {
		return err
	}
	if err := to.Datasync(); err != nil {
		return err
	}
	if err := checkCompressed(fsys, dir, first, tmp, wrap); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, compressedPath(dir, first)); err != nil {
		return err
	}
	if err := fsys.SyncDir(filepath.Join(dir, segmentsName)); err != nil {
		return err
	}
	return fsys.Remove(name)
}

// checkCompressed compares the lines in a compressed file with the leaf hashes of a segment.
func checkCompressed(fsys vfs.FS, dir string, first int64, name string, wrap func(io.Reader) io.Reader) error {
	file, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	s := &segmentReader{name: name, compressed: true, size: info.Size(), file: file}
	s.source = &sourceReader{r: wrap(io.NewSectionReader(file, 0, s.size))}
	defer s.Close()
	if err := s.decode(); err != nil {
		return err
	}
	leaves, err := fsys.OpenFile(leavesPath(dir, first), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer leaves.Close()
	hasher, lines := newLeafHasher(), newLineReader(s)
	for index := first; ; index++ {
		var leaf [tlog.HashSize]byte
		n, leafErr := leaves.ReadAt(leaf[:], (index-first)*tlog.HashSize)
		if leafErr != nil && leafErr != io.EOF {
			return leafErr
		}
		line, err := lines.next()
		switch {
		case err == io.EOF && len(line) == 0 && n == 0:
			return nil
		case err != nil && err != io.EOF && err != errLongLine:
			return fmt.Errorf("reading it again: %w", err)
		case err != nil || n < len(leaf):
			return &TamperError{segmentsName, index, "the segment and its leaf hashes do not end with the same event; it was not compressed"}
		}
		if hash := hasher.leaf(line[:len(line)-1]); !bytes.Equal(hash[:], leaf[:]) {
			return &TamperError{segmentsName, index, "its bytes do not have the hash that was recorded for them; its segment was not compressed"}
		}
	}
}
