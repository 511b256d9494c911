// Package live contains the tests that run zeekwire together with real Zeek
// installations. They are skipped unless the environment names one: ZEEK
// contains prefixes of installations, ZEEK_IMAGE container images. See "make
// live" and testdata/README.md.
package live
