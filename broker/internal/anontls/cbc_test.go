package anontls

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"math/rand/v2"
	"testing"
)

func TestSecretLenMAC(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{7}, macKeyLen)
	header := []byte("thirteenbytes")
	random := rand.NewChaCha8([32]byte{})
	m := newSecretLenMAC(key)
	for length := 0; length < 600; length += 37 {
		data := make([]byte, length)
		random.Read(data)
		least := max(0, length-maxPadding)
		for n := least; n <= length; n++ {
			ref := hmac.New(sha1.New, key)
			ref.Write(header)
			ref.Write(data[:n])
			want := ref.Sum(nil)
			var got [sha1.Size]byte
			m.sum(&got, header, data, n, least)
			if !bytes.Equal(got[:], want) {
				t.Fatalf("%d of %d bytes: got %x, want %x", n, length, got, want)
			}
		}
	}
}

func TestExtractMAC(t *testing.T) {
	random := rand.NewChaCha8([32]byte{})
	for length := sha1.Size; length < 400; length += 7 {
		plain := make([]byte, length)
		random.Read(plain)
		for start := max(0, length-sha1.Size-maxPadding); start <= length-sha1.Size; start++ {
			var got [sha1.Size]byte
			extractMAC(&got, plain, start)
			if want := plain[start : start+sha1.Size]; !bytes.Equal(got[:], want) {
				t.Fatalf("at %d of %d: got %x, want %x", start, length, got, want)
			}
		}
	}
}

func TestPaddingLen(t *testing.T) {
	pad := func(n int) []byte { return bytes.Repeat([]byte{byte(n - 1)}, n) }
	data := bytes.Repeat([]byte{0xaa}, 100)
	tests := []struct {
		name  string
		plain []byte
		n     int
		good  int
	}{
		{"least", append(data[:100:100], pad(1)...), 1, 1},
		{"some", append(data[:100:100], pad(16)...), 16, 1},
		{"most", append(data[:100:100], pad(256)...), 256, 1},
		{"padding up to the MAC", append(data[:sha1.Size:sha1.Size], pad(44)...), 44, 1},
		{"padding overlaps the MAC", append(data[:sha1.Size-1:sha1.Size-1], pad(45)...), 1, 0},
		{"padding longer than the record", append(data[:30:30], 200), 1, 0},
		{"first byte of the padding wrong", append(append(data[:100:100], 14), pad(16)[1:]...), 1, 0},
		{"middle byte of the padding wrong", append(data[:100:100], 3, 2, 3, 3), 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, good := paddingLen(tt.plain, sha1.Size)
			if n != tt.n || good != tt.good {
				t.Errorf("got %d, %d; want %d, %d", n, good, tt.n, tt.good)
			}
		})
	}
}

// countingHash counts the hashed bytes and the saved states.
type countingHash struct {
	sha1State
	bytes, sums int
}

func (c *countingHash) Write(p []byte) (int, error) {
	c.bytes += len(p)
	return c.sha1State.Write(p)
}

func (c *countingHash) AppendBinary(b []byte) ([]byte, error) {
	c.sums++
	return c.sha1State.AppendBinary(b)
}

// TestSameWorkForAllPaddings opens records of the same length with every
// padding that fits, valid and invalid, and compares the amount of work.
// Measuring time would not be reliable in a test.
func TestSameWorkForAllPaddings(t *testing.T) {
	for _, length := range []int{32, 64, 112, 288, 320, 1024} {
		var want countingHash
		for pad := range 256 {
			m := newSecretLenMAC(make([]byte, macKeyLen))
			count := &countingHash{sha1State: m.hash}
			m.hash = count
			plain := make([]byte, length)
			for i := range min(pad+1, length) {
				plain[length-1-i] = byte(pad)
			}
			var header [macHeaderLen]byte
			if _, ok := m.open(&header, plain); ok {
				t.Fatal("a record without a MAC was opened")
			}
			if pad == 0 {
				want = *count
			}
			if count.bytes != want.bytes || count.sums != want.sums {
				t.Fatalf("%d bytes, padding %d: hashed %d bytes and %d states, want %d and %d",
					length, pad, count.bytes, count.sums, want.bytes, want.sums)
			}
		}
	}
}
