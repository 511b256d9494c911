// Package live holds the tests that run zeekwire beside a real Zeek. They do
// nothing unless the environment names one: ZEEK the prefixes of installations,
// ZEEK_IMAGE container images. See "make live" and testdata/README.md.
package live
