// Package live holds the tests that run zeekwire beside a real Zeek. They do
// nothing unless the environment variable ZEEK names one: the prefix of an
// installation, or several with commas between. See "make live".
package live
