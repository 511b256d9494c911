package anontls

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"testing"
	"testing/iotest"
	"time"
)

// testKeys returns the keys of one direction.
func testKeys() directionKeys {
	return directionKeys{
		mac:    bytes.Repeat([]byte{1}, macKeyLen),
		cipher: bytes.Repeat([]byte{2}, keyLen),
	}
}

var bothModes = []struct {
	name           string
	encryptThenMAC bool
}{
	{"encrypt-then-mac", true},
	{"mac-then-encrypt", false},
}

func TestSealOpen(t *testing.T) {
	for _, mode := range bothModes {
		t.Run(mode.name, func(t *testing.T) {
			s := newSealer(testKeys(), mode.encryptThenMAC, rand.Reader)
			o := newOpener(testKeys(), mode.encryptThenMAC)
			lengths := []int{maxPlaintext - 1, maxPlaintext}
			for n := range 300 {
				lengths = append(lengths, n)
			}
			for _, n := range lengths {
				plain := make([]byte, n)
				rand.Read(plain)
				sealed, err := s.seal(nil, recordData, plain)
				if err != nil {
					t.Fatal(err)
				}
				if len(sealed) > maxCiphertext {
					t.Fatalf("%d bytes become %d", n, len(sealed))
				}
				got, err := o.open(recordData, sealed)
				if err != nil || !bytes.Equal(got, plain) {
					t.Fatalf("%d bytes: %v", n, err)
				}
			}
		})
	}
}

// TestOpenTampered changes each byte of a record, and the other inputs of the
// MAC.
func TestOpenTampered(t *testing.T) {
	for _, mode := range bothModes {
		t.Run(mode.name, func(t *testing.T) {
			sealed, err := newSealer(testKeys(), mode.encryptThenMAC, rand.Reader).seal(nil, recordData, []byte("some text of a peer"))
			if err != nil {
				t.Fatal(err)
			}
			open := func(typ recordType, seq uint64, content []byte) error {
				o := newOpener(testKeys(), mode.encryptThenMAC)
				o.seq = seq
				_, err := o.open(typ, bytes.Clone(content))
				return err
			}
			if err := open(recordData, 0, sealed); err != nil {
				t.Fatal(err)
			}
			for i := range sealed {
				bad := bytes.Clone(sealed)
				bad[i] ^= 0x80
				if err := open(recordData, 0, bad); err != errBadRecord {
					t.Errorf("byte %d changed: got %v", i, err)
				}
			}
			for n := range sealed {
				if err := open(recordData, 0, sealed[:n]); err != errBadRecord {
					t.Errorf("cut to %d bytes: got %v", n, err)
				}
			}
			if err := open(recordHandshake, 0, sealed); err != errBadRecord {
				t.Errorf("changed type: got %v", err)
			}
			if err := open(recordData, 1, sealed); err != errBadRecord {
				t.Errorf("changed sequence number: got %v", err)
			}
		})
	}
}

// TestOpenBadPadding seals records with a valid MAC and invalid padding, which
// requires the keys.
func TestOpenBadPadding(t *testing.T) {
	for _, mode := range bothModes {
		t.Run(mode.name, func(t *testing.T) {
			s := newSealer(testKeys(), mode.encryptThenMAC, nil)
			plain := bytes.Repeat([]byte{'x'}, 11)
			body := bytes.Clone(plain)
			if !mode.encryptThenMAC {
				body = s.appendMAC(body, recordData, plain)
			}
			body = append(body, bytes.Repeat([]byte{0xee}, 16-len(body)%16)...)
			content := append(make([]byte, ivLen), body...)
			s.cbc.SetIV(content[:ivLen])
			s.cbc.CryptBlocks(content[ivLen:], content[ivLen:])
			if mode.encryptThenMAC {
				content = s.appendMAC(content, recordData, content)
			}
			if _, err := newOpener(testKeys(), mode.encryptThenMAC).open(recordData, content); err != errBadRecord {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSequenceOverflow(t *testing.T) {
	s := newSealer(testKeys(), true, rand.Reader)
	o := newOpener(testKeys(), true)
	s.seq, o.seq = math.MaxUint64-1, math.MaxUint64-1
	sealed, err := s.seal(nil, recordData, []byte("last"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.open(recordData, sealed); err != nil {
		t.Fatal(err)
	}
	if _, err := s.seal(nil, recordData, nil); err != errSequence {
		t.Errorf("seal: got %v", err)
	}
	if _, err := o.open(recordData, sealed); err != errSequence {
		t.Errorf("open: got %v", err)
	}
}

// stream is a connection that can only be read.
type stream struct {
	net.Conn
	io.Reader
}

func (s stream) Read(p []byte) (int, error) { return s.Reader.Read(p) }

func plainRecord(typ recordType, content []byte) []byte {
	b := append(appendRecordHeader(nil, typ, versionTLS12), content...)
	setRecordLen(b, b[recordHeaderLen:])
	return b
}

func TestRecordReader(t *testing.T) {
	var wire []byte
	var want []string
	for _, n := range []int{0, 1, 100, 507, 508, 3, 5000, 1, maxCiphertext, maxCiphertext, 3} {
		content := bytes.Repeat([]byte{byte(n)}, n)
		wire = append(wire, plainRecord(recordData, content)...)
		want = append(want, string(content))
	}
	readers := map[string]func(io.Reader) io.Reader{
		"whole":  func(r io.Reader) io.Reader { return r },
		"bytes":  iotest.OneByteReader,
		"halves": iotest.HalfReader,
		"eof":    iotest.DataErrReader,
	}
	for name, wrap := range readers {
		t.Run(name, func(t *testing.T) {
			r := newRecordReader(stream{Reader: wrap(bytes.NewReader(wire))})
			for i, w := range want {
				got, err := r.next()
				if err != nil {
					t.Fatalf("record %d: %v", i, err)
				}
				if string(got.content) != w || got.typ != recordData || got.version != versionTLS12 {
					t.Fatalf("record %d: got %d bytes of %v", i, len(got.content), got.typ)
				}
			}
			if _, err := r.next(); err != io.EOF {
				t.Errorf("at the end: got %v", err)
			}
		})
	}
}

func TestRecordReaderErrors(t *testing.T) {
	whole := plainRecord(recordData, []byte("text"))
	tests := []struct {
		name string
		wire []byte
		want error
	}{
		{"ends in the header", whole[:3], io.ErrUnexpectedEOF},
		{"ends in the content", whole[:7], io.ErrUnexpectedEOF},
		{"too long", []byte{23, 3, 3, 0x48, 0x01}, errRecordTooLong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRecordReader(stream{Reader: bytes.NewReader(tt.wire)})
			if _, err := r.next(); err != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// TestRecordReaderBuffers reads records that arrive together, and checks which buffer is
// used while the next read waits.
func TestRecordReaderBuffers(t *testing.T) {
	small, medium, large := make([]byte, 100), make([]byte, 2000), make([]byte, maxCiphertext)
	tests := []struct {
		records [][]byte
		large   bool
	}{
		{[][]byte{small}, false},
		{[][]byte{small, small}, false},
		{[][]byte{medium}, false},
		{[][]byte{small, medium}, false},
		{[][]byte{large}, true},
		{[][]byte{small}, false},
		{[][]byte{medium, medium, medium}, true},
		{[][]byte{small}, false},
	}
	a, b := tcpPair(t)
	r := newRecordReader(a)
	for i, tt := range tests {
		var wire []byte
		for _, content := range tt.records {
			wire = append(wire, plainRecord(recordData, content)...)
		}
		if _, err := b.Write(wire); err != nil {
			t.Fatal(err)
		}
		for range tt.records {
			if _, err := r.next(); err != nil {
				t.Fatal(err)
			}
		}
		a.SetReadDeadline(time.Unix(1, 0))
		if _, err := r.next(); !isTimeout(err) {
			t.Fatalf("read more than was written: %v", err)
		}
		a.SetReadDeadline(time.Now().Add(time.Minute))
		if got := r.in.Large(); got != tt.large {
			t.Errorf("step %d: large buffer %v, want %v", i, got, tt.large)
		}
	}
}

// TestRecordReaderContinues interrupts the stream before each byte.
func TestRecordReaderContinues(t *testing.T) {
	interrupted := errors.New("interrupted")
	var parts []io.Reader
	for _, b := range plainRecord(recordData, []byte("text")) {
		parts = append(parts, errOnce(interrupted), bytes.NewReader([]byte{b}))
	}
	r := newRecordReader(stream{Reader: &inTurn{parts}})
	for {
		got, err := r.next()
		if err == interrupted {
			continue
		}
		if err != nil || string(got.content) != "text" {
			t.Fatalf("got %q, %v", got.content, err)
		}
		return
	}
}

// inTurn reads from the first reader that is not at its end, and drops a
// reader that fails.
type inTurn struct{ readers []io.Reader }

func (r *inTurn) Read(p []byte) (int, error) {
	for len(r.readers) > 0 {
		n, err := r.readers[0].Read(p)
		if err != nil {
			r.readers = r.readers[1:]
		}
		if err != io.EOF || n > 0 {
			return n, err
		}
	}
	return 0, io.EOF
}

func errOnce(err error) io.Reader { return iotest.ErrReader(err) }

func BenchmarkOpen(b *testing.B) {
	for _, mode := range bothModes {
		for _, n := range []int{300, maxPlaintext} {
			b.Run(fmt.Sprintf("%s/%d", mode.name, n), func(b *testing.B) {
				sealed, err := newSealer(testKeys(), mode.encryptThenMAC, rand.Reader).seal(nil, recordData, make([]byte, n))
				if err != nil {
					b.Fatal(err)
				}
				o := newOpener(testKeys(), mode.encryptThenMAC)
				content := make([]byte, len(sealed))
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					copy(content, sealed)
					o.seq = 0
					if _, err := o.open(recordData, content); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, n := range []int{300, maxPlaintext} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newSealer(testKeys(), true, rand.Reader)
			plain := make([]byte, n)
			buf := make([]byte, 0, n+2*ivLen+sha1.Size)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.seal(buf, recordData, plain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
