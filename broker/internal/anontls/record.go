package anontls

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"math"
	"sync"

	"github.com/zeekwire/zeekwire/broker/internal/idlebuf"
)

type recordType uint8

const (
	recordChangeCipherSpec recordType = 20
	recordAlert            recordType = 21
	recordHandshake        recordType = 22
	recordData             recordType = 23
)

func (t recordType) String() string {
	switch t {
	case recordChangeCipherSpec:
		return "ChangeCipherSpec"
	case recordAlert:
		return "alert"
	case recordHandshake:
		return "handshake message"
	case recordData:
		return "application data"
	}
	return "record of unknown type"
}

const (
	versionTLS10 = 0x0301
	versionTLS12 = 0x0303

	recordHeaderLen = 5
	macHeaderLen    = 13 // sequence number, type, version, length
	ivLen           = aes.BlockSize

	maxPlaintext  = 1 << 14
	maxCiphertext = maxPlaintext + 2048
)

// errSequence ends a connection before a sequence number would be reused.
var errSequence = errors.New("record numbers are exhausted")

// cbcMode is the interface of the results of cipher.NewCBCEncrypter and
// NewCBCDecrypter. SetIV avoids copying the key schedule for each record.
type cbcMode interface {
	cipher.BlockMode
	SetIV([]byte)
}

// putMACHeader writes the data that a MAC covers in addition to a record's
// content.
func putMACHeader(h *[macHeaderLen]byte, seq uint64, typ recordType, n int) {
	binary.BigEndian.PutUint64(h[:], seq)
	h[8] = byte(typ)
	binary.BigEndian.PutUint16(h[9:], versionTLS12)
	binary.BigEndian.PutUint16(h[11:], uint16(n))
}

// sealer protects the records of one direction.
type sealer struct {
	cbc            cbcMode
	mac            hash.Hash
	encryptThenMAC bool
	random         io.Reader // for initialization vectors
	seq            uint64
	header         [macHeaderLen]byte
}

func newSealer(k directionKeys, encryptThenMAC bool, random io.Reader) *sealer {
	return &sealer{
		cbc:            cipher.NewCBCEncrypter(newBlock(k.cipher), make([]byte, ivLen)).(cbcMode),
		mac:            hmac.New(sha1.New, k.mac),
		encryptThenMAC: encryptThenMAC,
		random:         random,
	}
}

func newBlock(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key has the wrong length
	}
	return block
}

// seal appends the protected content of a record to dst and returns the
// result.
func (s *sealer) seal(dst []byte, typ recordType, plain []byte) ([]byte, error) {
	if s.seq == math.MaxUint64 {
		return nil, errSequence
	}
	start := len(dst)
	dst = append(dst, make([]byte, ivLen)...)
	if _, err := io.ReadFull(s.random, dst[start:]); err != nil {
		return nil, err
	}
	dst = append(dst, plain...)
	if !s.encryptThenMAC {
		dst = s.appendMAC(dst, typ, plain)
	}
	content := dst[start+ivLen:]
	padding := aes.BlockSize - len(content)%aes.BlockSize
	for range padding {
		dst = append(dst, byte(padding-1))
	}
	content = dst[start+ivLen:]
	s.cbc.SetIV(dst[start : start+ivLen])
	s.cbc.CryptBlocks(content, content)
	if s.encryptThenMAC {
		dst = s.appendMAC(dst, typ, dst[start:])
	}
	s.seq++
	return dst, nil
}

func (s *sealer) appendMAC(dst []byte, typ recordType, covered []byte) []byte {
	putMACHeader(&s.header, s.seq, typ, len(covered))
	s.mac.Reset()
	s.mac.Write(s.header[:])
	s.mac.Write(covered)
	return s.mac.Sum(dst)
}

// opener decrypts and verifies the records that a sealer protected.
type opener struct {
	cbc            cbcMode
	mac            hash.Hash     // for encrypt-then-MAC
	secretLen      *secretLenMAC // for MAC-then-encrypt
	encryptThenMAC bool
	seq            uint64
	header         [macHeaderLen]byte
	sum            []byte
}

func newOpener(k directionKeys, encryptThenMAC bool) *opener {
	o := &opener{
		cbc:            cipher.NewCBCDecrypter(newBlock(k.cipher), make([]byte, ivLen)).(cbcMode),
		encryptThenMAC: encryptThenMAC,
	}
	if encryptThenMAC {
		o.mac = hmac.New(sha1.New, k.mac)
	} else {
		o.secretLen = newSecretLenMAC(k.mac)
	}
	return o
}

// errBadRecord is the only error of open, so that the peer cannot learn the
// cause.
var errBadRecord = errors.New("bad record")

// open verifies the content of a record, decrypts it in place and returns the
// data.
func (o *opener) open(typ recordType, content []byte) ([]byte, error) {
	if o.seq == math.MaxUint64 {
		return nil, errSequence
	}
	var plain []byte
	var ok bool
	if o.encryptThenMAC {
		plain, ok = o.openMACLast(typ, content)
	} else {
		plain, ok = o.openMACFirst(typ, content)
	}
	if !ok {
		return nil, errBadRecord
	}
	o.seq++
	return plain, nil
}

// openMACLast opens a record with encrypt-then-MAC. It checks the MAC before
// it decrypts, so the padding need not be kept secret.
func (o *opener) openMACLast(typ recordType, content []byte) ([]byte, bool) {
	n := len(content) - sha1.Size
	if n < ivLen+aes.BlockSize || n%aes.BlockSize != 0 {
		return nil, false
	}
	putMACHeader(&o.header, o.seq, typ, n)
	o.mac.Reset()
	o.mac.Write(o.header[:])
	o.mac.Write(content[:n])
	o.sum = o.mac.Sum(o.sum[:0])
	if !hmac.Equal(o.sum, content[n:]) {
		return nil, false
	}
	plain := o.decrypt(content[:n])
	padding, good := paddingLen(plain, 0)
	return plain[:len(plain)-padding], good == 1
}

// openMACFirst opens a record with MAC-then-encrypt.
func (o *opener) openMACFirst(typ recordType, content []byte) ([]byte, bool) {
	// The shortest content is a MAC and one byte of padding, rounded up to
	// whole blocks.
	const least = ivLen + (sha1.Size/aes.BlockSize+1)*aes.BlockSize
	if len(content) < least || len(content)%aes.BlockSize != 0 {
		return nil, false
	}
	plain := o.decrypt(content)
	putMACHeader(&o.header, o.seq, typ, 0)
	return o.secretLen.open(&o.header, plain)
}

// decrypt decrypts, in place, the blocks that follow an initialization vector.
func (o *opener) decrypt(content []byte) []byte {
	o.cbc.SetIV(content[:ivLen])
	plain := content[ivLen:]
	o.cbc.CryptBlocks(plain, plain)
	return plain
}

// rawRecord is a record as received. Content is valid until the next read.
type rawRecord struct {
	typ     recordType
	version uint16
	content []byte
}

// buffer is memory for the records of one direction. Any record fits in it.
type buffer [20 << 10]byte

// buffers has the buffers for sending that no connection uses. Most connections
// are idle most of the time, and have none.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

// recordReader splits a stream into records. A failed read loses no data:
// after a timeout, the next call continues.
type recordReader struct{ in *idlebuf.Reader }

func newRecordReader(conn io.Reader) recordReader {
	return recordReader{idlebuf.NewReader(conn, len(buffer{}))}
}

// peek waits for n bytes and returns them without consuming them. It returns
// io.EOF if the stream ends between records.
func (r recordReader) peek(n int) ([]byte, error) {
	b, err := r.in.Peek(n)
	if errors.Is(err, io.EOF) && len(b) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// next returns the next record. It checks only the length.
func (r recordReader) next() (rawRecord, error) {
	b, err := r.peek(recordHeaderLen)
	if err != nil {
		return rawRecord{}, err
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	if n > maxCiphertext {
		return rawRecord{}, errRecordTooLong
	}
	if _, err = r.peek(recordHeaderLen + n); err != nil {
		return rawRecord{}, err
	}
	b = r.in.Take(recordHeaderLen + n)
	return rawRecord{
		typ:     recordType(b[0]),
		version: binary.BigEndian.Uint16(b[1:]),
		content: b[recordHeaderLen : recordHeaderLen+n : recordHeaderLen+n],
	}, nil
}

var errRecordTooLong = errors.New("record too long")

// appendRecordHeader appends a header without the length, which setRecordLen
// adds.
func appendRecordHeader(dst []byte, typ recordType, version uint16) []byte {
	return append(dst, byte(typ), byte(version>>8), byte(version), 0, 0)
}

func setRecordLen(header, content []byte) {
	binary.BigEndian.PutUint16(header[3:], uint16(len(content)))
}
