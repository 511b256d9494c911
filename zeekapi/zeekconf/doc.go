// Package zeekconf reads zeek.conf, the configuration of Zeek's generator for
// systemd (zeek-systemd-generator, Zeek 8.1 and later).
//
// A file has lines of the form key = value. A line that begins with a blank adds a
// value to the key before, and a line that begins with # is a comment. Either no
// option is in a section, or all of them are: those of the machine in [zeek], and
// those of a network interface in [interface NAME]. A cluster of several machines
// has a directory with a file HOST.zeek.conf for each of them.
//
// A file is accepted, and its values are understood, as by the generator. The texts
// of errors are the generator's, followed by the position. Unlike the generator, this
// package also refuses files whose processes could not start: with a port that does
// not exist, with two nodes of one name, or with more nodes than an agent runs.
package zeekconf
